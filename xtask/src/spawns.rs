//! Who may start a task or a thread, and by what.
//!
//! `core::supervise` starts them, so that a stop can wait for all of them. Every exception is written here with its
//! reason; one that is not needed any more is named as well.

use crate::sources::Source;

/// What starts something, or is a queue without a bound.
const STARTS: [&str; 9] = [
    "tokio::spawn(",
    "task::spawn(",
    "JoinSet::new(",
    "JoinSet::default(",
    "thread::spawn(",
    "runtime.spawn(",
    "unbounded_channel(",
    "unbounded(",
    "mpsc::channel()",
];

/// The file that may, what it may, and why.
const MAY: [(&str, &str, &str); 7] = [
    (
        "crates/core/src/supervise/mod.rs",
        "tokio::spawn(",
        "this is where tasks are started",
    ),
    (
        "crates/server/src/serve.rs",
        "JoinSet::new(",
        "owns the connections, as many as there are places, and shuts them down before the server returns",
    ),
    (
        "crates/cli/src/operator/channel.rs",
        "JoinSet::new(",
        "owns the open requests of a loop that is supervised itself, and shuts them down before that ends",
    ),
    (
        "crates/cli/src/cmd/bench/neighbour.rs",
        "JoinSet::new(",
        "a benchmark: it is the client, and ends with its command",
    ),
    (
        "crates/cli/src/cmd/bench/scenario.rs",
        "JoinSet::new(",
        "a benchmark: it is the client, and ends with its command",
    ),
    (
        "crates/cli/src/cmd/bench/load.rs",
        "JoinSet::new(",
        "a benchmark: it is the client, and ends with its command",
    ),
    (
        "crates/cli/src/cmd/bench/",
        "tokio::spawn(",
        "a benchmark: it is the client, and ends with its command",
    ),
];

/// Everything that is started has an owner, and every queue a bound.
pub fn started_by_the_supervisor(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, start) in starts(source) {
        if !MAY.iter().any(|may| permits(may, &source.path, start)) {
            let path = &source.path;
            broken.push(format!(
                "{path}:{line}: `{start}` outside core::supervise, which is what starts tasks and threads and \
                 has no queue without a bound"
            ));
        }
    }
    broken
}

/// Exceptions that nobody makes use of.
pub fn unused_exceptions(sources: &[Source]) -> Vec<String> {
    let used = |may: &&(&str, &str, &str)| {
        sources.iter().any(|source| {
            let mut starts = starts(source).into_iter();
            starts.any(|(_, start)| permits(may, &source.path, start))
        })
    };
    let unused = MAY.iter().filter(|may| !used(may));
    unused
        .map(|(path, start, _)| format!("{path}: `{start}` is permitted in xtask, and not used"))
        .collect()
}

fn permits(may: &(&str, &str, &str), path: &str, start: &str) -> bool {
    path.starts_with(may.0) && may.1 == start
}

/// Where the code of a crate starts something, by line. Tests may.
fn starts(source: &Source) -> Vec<(usize, &'static str)> {
    let path = &source.path;
    let is_code = path.starts_with("crates/") && path.contains("/src/");
    let is_test = path.ends_with("tests.rs") || path.starts_with("crates/testkit/");
    if !is_code || is_test {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut builds_a_thread = false;
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        if line.contains("#[cfg(test)]") {
            break;
        }
        if line.starts_with("//") {
            continue;
        }
        let here = STARTS.iter().filter(|start| line.contains(**start));
        found.extend(here.map(|start| (number + 1, *start)));
        // A builder is handed to the supervisor, in a statement of its own.
        builds_a_thread |= line.contains("thread::Builder::new()");
        if builds_a_thread && line.contains(".spawn(") {
            found.push((number + 1, "thread::Builder::spawn("));
        }
        builds_a_thread &= !line.ends_with(';');
    }
    found
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
    fn whatever_starts_something_is_seen() {
        let threads = "std::thread::Builder::new()\n    .name(name)\n    .spawn(work)?;\n";
        let each = [
            "let task = tokio::spawn(work);",
            "tokio::task::spawn(work);",
            "self.runtime.spawn(work);",
            "std::thread::spawn(work);",
            "let (sender, inbox) = mpsc::unbounded_channel();",
            "let (sender, inbox) = std::sync::mpsc::channel();",
            "let mut open = JoinSet::new();",
            threads,
        ];
        for text in each {
            let broken = started_by_the_supervisor(&source("crates/exec/src/a.rs", text));
            assert_eq!(broken.len(), 1, "{text}: {broken:?}");
        }
    }

    #[test]
    fn what_is_owned_or_a_test_passes() {
        let builder =
            "let builder = thread::Builder::new().name(name);\nlet x = command.spawn();\n";
        let fine = [
            ("crates/exec/src/a.rs", "supervisor.spawn(\"queue\", work);"),
            (
                "crates/exec/src/a.rs",
                "tokio::task::spawn_blocking(work).await",
            ),
            ("crates/exec/src/a.rs", "// as tokio::spawn(work) does"),
            (
                "crates/exec/src/a.rs",
                "#[cfg(test)]\nfn f() { tokio::spawn(work); }",
            ),
            ("crates/exec/src/a.rs", builder),
            ("crates/exec/tests/it/a.rs", "tokio::spawn(work);"),
            ("crates/core/src/supervise/mod.rs", "tokio::spawn(work);"),
            ("crates/server/src/serve.rs", "JoinSet::new()"),
        ];
        for (path, text) in fine {
            let broken = started_by_the_supervisor(&source(path, text));
            assert_eq!(broken, Vec::<String>::new(), "{path}: {text}");
        }
        assert_eq!(unused_exceptions(&[]).len(), MAY.len());
    }
}
