//! A program outside this workspace, with tables and events of its own: what follows an operation survives whatever ends it,
//! and what was not saved has no consequences.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Builds the program in a project of its own.
fn build(project: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().and_then(Path::parent).unwrap();
    let template = fs::read_to_string(here.join("tests/outside/Cargo.toml.in")).unwrap();
    let manifest = template.replace("@TOLLGATE@", here.to_str().unwrap());
    fs::create_dir(project.join("src")).unwrap();
    fs::write(project.join("Cargo.toml"), manifest).unwrap();
    // The same versions: what was built for this workspace is used again.
    fs::copy(root.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    fs::copy(
        here.join("tests/outside/src/main.rs"),
        project.join("src/main.rs"),
    )
    .unwrap();
    let target = root.join("target/outside");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(project)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/outside")
}

struct Outside {
    program: PathBuf,
    data: TempDir,
}

impl Outside {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.data.path()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end: what it says of the operation, and what stands there afterwards.
    fn run(&self, arguments: &[&str]) -> (String, Value) {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = said.lines().collect();
        let told = lines.pop().and_then(|line| serde_json::from_str(line).ok());
        let told = told.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (lines.join("\n"), told)
    }
}

#[test]
fn what_follows_an_operation_survives_whatever_ends_it() {
    let project = tempfile::tempdir().unwrap();
    let outside = Outside {
        program: build(project.path()),
        data: tempfile::tempdir().unwrap(),
    };
    let (said, told) = outside.run(&["save", "1", "100"]);
    assert_eq!(said, "saved 1");
    let first = json!([1, 100, 10]);
    assert_eq!(told["transfers"], json!([first]), "enriched");
    assert_eq!(told["notify"], json!(["succeeded"]));

    let (said, told) = outside.run(&["save", "2", "5000"]);
    assert_eq!(
        said,
        "refused PRE_TRANSFER: function 'check' denied the operation: too much"
    );
    assert_eq!(
        (&told["transfers"], &told["notify"]),
        (&json!([first]), &json!(["succeeded"]))
    );
    let (said, told) = outside.run(&["save", "2", "13"]);
    assert!(
        said.starts_with("refused PRE_TRANSFER: function 'check' failed"),
        "{said}"
    );
    assert_eq!(told["transfers"], json!([first]));

    // A rollback: nothing follows, and that the function agreed is on record.
    for (how, part) in [("fail", "failed"), ("panic", "failed")] {
        let before = told["check"].as_array().unwrap().len();
        let (said, told) = outside.run(&[how, "2", "100"]);
        assert!(said.starts_with(part), "{how}: {said}");
        assert_eq!(told["transfers"], json!([first]), "{how}");
        assert_eq!(told["notify"], json!(["succeeded"]), "{how}");
        assert!(told["check"].as_array().unwrap().len() > before, "{how}");
    }

    // The process ends within the transaction: it was never begun.
    let aborted = outside.command(&["abort", "2", "100"]).output().unwrap();
    assert!(!aborted.status.success());
    let (_, told) = outside.run(&[]);
    assert_eq!(
        (&told["transfers"], &told["notify"]),
        (&json!([first]), &json!(["succeeded"]))
    );

    // It is killed after it was saved, in the middle of what follows: that is done by the next start, once.
    let mut killed = outside
        .command(&["save", "2", "200"])
        .env("HANG", "1")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "saved 2");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (_, told) = outside.run(&[]);
    assert_eq!(told["transfers"], json!([first, [2, 200, 20]]));
    assert_eq!(told["notify"], json!(["succeeded", "succeeded"]));
}
