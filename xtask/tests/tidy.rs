//! Holds the whole repository against the rules.

use xtask::rules;
use xtask::sources::{Source, sources};
use xtask::spawns;

fn check(sources: &[Source], rule: fn(&Source) -> Vec<String>) {
    let broken: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn sources_keep_the_rules() {
    let rust = sources(&[".rs"]);
    assert!(rust.len() > 50, "the sources were not found");
    check(&rust, rules::file_length);
    check(&rust, rules::function_length);
    check(&rust, rules::module_comment);
    check(&rust, rules::no_sleep_in_tests);
    check(&rust, rules::unsafe_only_in_the_launcher);
    check(&rust, rules::nothing_unfinished);
    check(&rust, rules::scopes_are_made_in_their_places);
    check(&rust, spawns::started_by_the_supervisor);
    assert_eq!(spawns::unused_exceptions(&rust), Vec::<String>::new());
}

#[test]
fn nothing_names_one_machine() {
    check(
        &sources(&[".rs", ".md", ".toml", ".py", ".sql", ".sh", "run"]),
        rules::no_machine_paths,
    );
}

#[test]
fn dependencies_point_towards_core() {
    let manifests = sources(&["Cargo.toml"]);
    assert!(manifests.len() > 7, "the manifests were not found");
    check(&manifests, rules::dependency_direction);
}
