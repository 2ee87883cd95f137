//! The rules. Each returns one line for every place that breaks it.

use crate::sources::Source;

/// Longest source file, in lines.
const FILE_LINES: usize = 800;
/// Longest function, in lines.
const FUNCTION_LINES: usize = 70;

/// Source files stay readable.
pub fn file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines; split it, {FILE_LINES} is the limit",
        source.path
    )]
}

/// Functions stay readable. Relies on rustfmt: a function ends at the brace of its own indent.
pub fn function_length(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut broken = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        if !begins_function(line) || is_declaration(&lines[start..]) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..]
            .iter()
            .position(|line| *line == end)
            .map_or(0, |end| end + 1);
        if length > FUNCTION_LINES {
            let place = format!("{}:{}", source.path, start + 1);
            broken.push(format!(
                "{place}: a function of {length} lines; {FUNCTION_LINES} is the limit"
            ));
        }
    }
    broken
}

/// A trait's method without a body.
fn is_declaration(lines: &[&str]) -> bool {
    let end = lines
        .iter()
        .find(|line| line.ends_with('{') || line.ends_with(';'));
    end.is_some_and(|line| line.ends_with(';'))
}

fn begins_function(line: &str) -> bool {
    let words = line
        .trim_start()
        .trim_start_matches("pub ")
        .trim_start_matches("pub(crate) ");
    let words = words
        .trim_start_matches("pub(super) ")
        .trim_start_matches("const ");
    words.trim_start_matches("async ").starts_with("fn ")
}

/// Every module says what it is for, first thing.
pub fn module_comment(source: &Source) -> Vec<String> {
    let is_included_test = source.path.ends_with("_tests.rs");
    if source.text.starts_with("//!") || is_included_test {
        return Vec::new();
    }
    vec![format!(
        "{}: begin with `//!` and what the module is for",
        source.path
    )]
}

/// No test waits for time to pass. What gives no signal is polled for in a `poll.rs`.
pub fn no_sleep_in_tests(source: &Source) -> Vec<String> {
    let is_test = source.path.contains("/tests/") || source.path.ends_with("_tests.rs");
    let inline = source
        .text
        .find("#[cfg(test)]")
        .unwrap_or(source.text.len());
    let text = if is_test {
        source.text.as_str()
    } else {
        &source.text[inline..]
    };
    let sleeps = text.matches("thread::sleep(").count() + text.matches("time::sleep(").count();
    if sleeps == 0 || source.path.ends_with("/poll.rs") || source.path == "xtask/src/rules.rs" {
        return Vec::new();
    }
    vec![format!(
        "{}: {sleeps} sleeps in tests; wait for a signal instead",
        source.path
    )]
}

/// `unsafe` lives in the process launcher and nowhere else.
pub fn unsafe_only_in_the_launcher(source: &Source) -> Vec<String> {
    let allowed = source
        .path
        .starts_with("crates/runtimes/src/process/launcher/");
    let uses = source.text.lines().any(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && (code.contains("unsafe {") || code.contains("unsafe fn "))
    });
    // This file names the word.
    if allowed || !uses || source.path == "xtask/src/rules.rs" {
        return Vec::new();
    }
    vec![format!(
        "{}: unsafe code outside the process launcher",
        source.path
    )]
}

/// Nothing unfinished, nothing switched off.
pub fn nothing_unfinished(source: &Source) -> Vec<String> {
    if source.path == "xtask/src/rules.rs" {
        return Vec::new();
    }
    ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "dbg!("]
        .into_iter()
        .filter(|mark| source.text.contains(mark))
        .map(|mark| format!("{}: contains {mark}", source.path))
        .collect()
}

/// Nothing that holds on one machine only.
pub fn no_machine_paths(source: &Source) -> Vec<String> {
    if source.path == "xtask/src/rules.rs" {
        return Vec::new();
    }
    ["/work/main", "/root/.", "/home/"]
        .into_iter()
        .filter(|path| source.text.contains(path))
        .map(|path| format!("{}: names the path {path}", source.path))
        .collect()
}

/// What makes the scope of a site, and where alone it may be asked to.
const SCOPES: [(&str, &[&str]); 3] = [
    (
        "TenantScope::of_credential(",
        &["crates/core/src/auth/scopes.rs"],
    ),
    ("TenantScope::of_run(", &["crates/core/src/rights/actor.rs"]),
    (
        "TenantScope::of_stranger(",
        &[
            "crates/core/src/auth/sign_in.rs",
            "crates/core/src/invocations/service.rs",
        ],
    ),
];

/// Scopes are made where a credential is verified, by the program's own right, and in few other places.
pub fn scopes_are_made_in_their_places(source: &Source) -> Vec<String> {
    if source.path == "xtask/src/rules.rs" {
        return Vec::new();
    }
    let path = source.path.as_str();
    SCOPES
        .into_iter()
        .filter(|(maker, places)| source.text.contains(maker) && !places.contains(&path))
        .map(|(maker, _)| format!("{path}: makes a scope by {maker}…)"))
        .collect()
}

/// Dependencies point towards `core`; adapters do not see each other.
pub fn dependency_direction(manifest: &Source) -> Vec<String> {
    let allowed: &[&str] = match manifest.path.as_str() {
        "crates/core/Cargo.toml" => &[],
        "crates/store-sqlite/Cargo.toml"
        | "crates/exec/Cargo.toml"
        | "crates/runtimes/Cargo.toml"
        | "crates/server/Cargo.toml"
        | "crates/testkit/Cargo.toml" => &["tollgate-core"],
        "crates/cli/Cargo.toml" => return Vec::new(),
        _ => return Vec::new(),
    };
    let after = manifest
        .text
        .split_once("\n[dependencies]")
        .map_or("", |(_, after)| after);
    let section = after.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| name.starts_with("tollgate-") && !allowed.contains(name))
        .map(|name| format!("{}: must not depend on {name}", manifest.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn each_rule_sees_what_it_is_for() {
        let long = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(80));
        assert_eq!(function_length(&source("a.rs", &long)).len(), 1);
        assert_eq!(file_length(&source("a.rs", &"\n".repeat(801))).len(), 1);
        assert_eq!(module_comment(&source("a.rs", "use x;")).len(), 1);
        let sleeps = "//! x\n#[cfg(test)]\nmod t { fn f() { thread::sleep(d); } }";
        assert_eq!(no_sleep_in_tests(&source("a.rs", sleeps)).len(), 1);
        assert_eq!(
            unsafe_only_in_the_launcher(&source("a.rs", "unsafe { x() }")).len(),
            1
        );
        assert_eq!(nothing_unfinished(&source("a.rs", "todo!()")).len(), 1);
        assert_eq!(no_machine_paths(&source("a.rs", "/home/me")).len(), 1);
        let scope = source("a.rs", "let scope = TenantScope::of_stranger(site);");
        assert_eq!(scopes_are_made_in_their_places(&scope).len(), 1);
        let manifest = "[package]\n\n[dependencies]\ntollgate-exec.workspace = true\n";
        assert_eq!(
            dependency_direction(&source("crates/core/Cargo.toml", manifest)).len(),
            1
        );
    }

    #[test]
    fn and_lets_the_rest_pass() {
        let fine = source(
            "crates/core/src/a.rs",
            "//! What a is for.\nfn f() {\n    g();\n}\n",
        );
        let rules = [
            file_length,
            function_length,
            module_comment,
            no_sleep_in_tests,
            unsafe_only_in_the_launcher,
            nothing_unfinished,
            no_machine_paths,
            scopes_are_made_in_their_places,
        ];
        for rule in rules {
            assert_eq!(rule(&fine), Vec::<String>::new());
        }
    }
}
