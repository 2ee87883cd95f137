//! Commands that need no server: `migrate`, `doctor`, `openapi`.

use crate::support::folder::Folder;
use crate::support::server::Server;

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
    assert_eq!(what, ["python", "database", "isolation"]);
    assert!(!folder.data().exists(), "looking made a data folder");
    let server = Server::start().await;
    let said = server.folder.run(&["doctor"]).await.ok();
    assert!(said.contains("ok   python: /"), "{said}");
    assert!(said.contains("in use"), "{said}");
    server.stop().await;
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
        paths.contains_key("/api/cloud/events/{event}/subscribe/"),
        "{:?}",
        paths.keys()
    );
    assert_eq!(server.api.get("/api/openapi.json").await.ok(), printed);
    server.stop().await;
}
