//! Failpoints are for tests: the program that is shipped is built without them.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::process::Command;

/// The dependencies of the binary's crate, along edges of these kinds.
fn tree(edges: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let args = ["tree", "--locked", "-p", "tollgate-cli", "--prefix", "none"];
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--edges", edges])
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn has_failpoints(tree: &str) -> bool {
    tree.lines().any(|line| line.starts_with("fail v"))
}

#[test]
fn only_the_tests_are_built_with_failpoints() {
    assert!(
        !has_failpoints(&tree("normal,build")),
        "the binary has them"
    );
    assert!(
        has_failpoints(&tree("normal,build,dev")),
        "the tests have none"
    );
}
