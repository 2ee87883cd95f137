//! Commands that need no server: `migrate`, `doctor`, `openapi`.

use crate::support::code::AGREE;
use crate::support::folder::Folder;
use crate::support::server::{Server, WITHOUT_WALLS};
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn migrating_twice_is_safe() {
    let folder = Folder::new();
    let first = folder.run(&["migrate"]).await.ok();
    assert!(first.contains("0001_init"), "{first}");
    let second = folder.run(&["migrate"]).await;
    assert!(second.stderr.contains("up to date"), "{second:?}");
    assert_eq!(second.ok(), "");
}

#[tokio::test]
async fn the_doctor_looks_at_everything() {
    let folder = Folder::new();
    let findings = folder.run(&["doctor", "--json"]).await.json();
    let what: Vec<_> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["what"].clone())
        .collect();
    let all = [
        "python",
        "node",
        "database",
        "names",
        "isolation",
        "outbound",
    ];
    assert_eq!(what, all);
    assert!(!folder.data().exists(), "looking made a data folder");
    let private = [("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true")];
    let said = folder.run_with(&["doctor"], &private).await.ok();
    assert!(
        said.contains("note outbound: outbound.allow_private"),
        "{said}"
    );
    let server = Server::start().await;
    let said = server.folder.run(&["doctor"]).await.ok();
    assert!(said.contains("ok   python: /"), "{said}");
    assert!(said.contains("in use"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn the_walls_are_shown() {
    let server = Server::start().await;
    let said = server.folder.run(&["doctor"]).await.ok();
    let line = said.lines().find(|line| line.contains("isolation"));
    let line = line.unwrap();
    assert!(
        line.starts_with("ok   isolation: sandbox on: system_calls, files"),
        "{line}"
    );
    // The host is there once a function has been checked.
    server.api.app("any").await;
    server
        .api
        .function("any", "agrees", AGREE, &json!({}))
        .await;
    let ready = server.api.get("/readyz").await.ok();
    let confinement = &ready["runtimes"][0]["confinement"];
    assert_eq!(confinement["sandbox"], true, "{ready}");
    let walls = confinement["walls"].as_array().unwrap();
    assert!(walls.contains(&"files".into()), "{ready}");
    let missing = confinement["missing"].as_array().unwrap();
    assert_eq!(walls.len() + missing.len(), 10, "{ready}");
    let said = server.stderr.so_far();
    assert!(!said.contains("functions.sandbox"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn their_absence_is_shown_at_every_start() {
    let folder = Arc::new(Folder::new());
    let said = folder.run_with(&["doctor"], &[WITHOUT_WALLS]).await.ok();
    assert!(
        said.contains("note isolation: functions.sandbox = \"off\""),
        "{said}"
    );
    for _ in 0..2 {
        let mut server = Server::without_walls(&folder).await;
        let line = server.stderr.line("functions.sandbox").await;
        assert!(line.contains("WARN"), "{line}");
        let ready = server.api.get("/readyz").await.ok();
        let confinement = &ready["runtimes"][0]["confinement"];
        assert_eq!(confinement["sandbox"], false, "{ready}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_file_runs_behind_the_same_walls() {
    let folder = Folder::new();
    let code = "import os\n\ndef main(params):\n    found = os.path.exists('/etc/passwd')\n    try:\n        os.fork()\n    except PermissionError:\n        return [found, os.getcwd() == os.environ['TMPDIR'], 'refused']\n";
    let file = folder.write("looks.py", code);
    let args = ["function", "run", file.to_str().unwrap()];
    let shown: Value = folder.run(&args).await.json();
    assert_eq!(shown, json!([false, true, "refused"]));
}

#[tokio::test]
async fn the_doctor_fails_without_python() {
    let folder = Folder::new();
    let missing = [("TOLLGATE_PYTHON__PROGRAM", "/nowhere/python3")];
    let said = folder.run_with(&["doctor"], &missing).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout.contains("FAIL python: /nowhere/python3"),
        "{said:?}"
    );
}

#[test]
fn a_release_is_stripped_and_a_profile_keeps_the_lines() {
    let workspace = include_str!("../../../../../Cargo.toml");
    let workspace: toml::Table = workspace.parse().unwrap();
    let release = &workspace["profile"]["release"];
    assert_eq!(release["strip"].as_str(), Some("symbols"));
    let with_lines = &workspace["profile"]["release-with-debug"];
    assert_eq!(with_lines["inherits"].as_str(), Some("release"));
    assert_eq!(with_lines["debug"].as_str(), Some("line-tables-only"));
    assert_eq!(with_lines["strip"].as_str(), Some("none"));
}

#[tokio::test]
async fn the_openapi_document_is_the_servers() {
    let server = Server::start().await;
    let printed = server.folder.run(&["openapi"]).await;
    assert_eq!(printed.stderr, "");
    let printed = printed.json();
    assert!(
        printed["openapi"].as_str().unwrap().starts_with("3."),
        "{printed}"
    );
    let paths = printed["paths"].as_object().unwrap();
    assert!(
        paths.contains_key("/api/cloud/events/{event_name}/subscribe/"),
        "{:?}",
        paths.keys()
    );
    assert_eq!(server.api.get("/api/openapi.json").await.ok(), printed);
    server.stop().await;
}
