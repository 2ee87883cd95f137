//! What an embedder takes in who needs neither HTTP nor Python.

use std::collections::BTreeSet;
use std::process::Command;

/// Packages besides the workspace's own, on Linux. More of them must be a decision.
const PACKAGES_MAX: usize = 170;

fn packages(features: &[&str]) -> BTreeSet<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--offline",
        "--prefix",
        "none",
        "--edges",
        "normal",
        "--format",
        "{p}",
    ]);
    cargo.args(["--manifest-path", manifest]).args(features);
    let output = cargo.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = told.lines().filter_map(|line| line.split(' ').next());
    let foreign = names.filter(|name| !name.is_empty() && !name.starts_with("tollgate"));
    foreign.map(str::to_owned).collect()
}

#[test]
fn a_minimal_embedder_takes_in_no_server_and_no_client() {
    let minimal = packages(&["--no-default-features"]);
    for heavy in [
        "axum",
        "hyper",
        "reqwest",
        "rustls",
        "landlock",
        "seccompiler",
        "utoipa",
    ] {
        assert!(!minimal.contains(heavy), "{heavy}");
    }
    assert!(
        minimal.len() <= PACKAGES_MAX,
        "{}: {minimal:?}",
        minimal.len()
    );
    let whole = packages(&[]);
    assert!(whole.contains("reqwest") && whole.len() > minimal.len());
}
