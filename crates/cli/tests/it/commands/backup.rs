//! `tollgate backup`: a server starts from the copy.

use crate::support::code::ECHO;
use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                mode(&entry.path()),
            )
        })
        .collect();
    found.sort();
    found.push((".".to_owned(), mode(dir)));
    found
}

#[tokio::test]
async fn a_server_starts_from_the_copy_of_a_running_one() {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_ADMIN_PASSWORD", "correct horse")];
    let server = Server::start_in(&folder, &[], &settings).await;
    server.api.app("crm").await;
    server.api.function("crm", "echo", ECHO, &json!({})).await;
    server.api.create_user("ann").await.ok();
    let secret = json!({"key": "TOKEN", "value": "s3cr3t"});
    server.api.post("/api/secrets/", &secret).await.ok();
    // Writers go on meanwhile.
    let api = server.api.clone();
    let writing = tokio::spawn(async move {
        for number in 0..40 {
            api.create_user(&format!("user{number}")).await.ok();
        }
    });
    let copy = folder.path().join("copy");
    let said = folder.run(&["backup", "copy"]).await;
    writing.await.unwrap();
    assert!(
        said.stderr
            .contains("whoever has the copy can read every secret"),
        "{said:?}"
    );
    let said = said.ok();
    assert!(
        said.contains("checked the copy") && said.contains("secrets.key"),
        "{said}"
    );
    let private = |name: &str| (name.to_owned(), 0o600);
    let files = [
        private("jwt.key"),
        private("secrets.key"),
        private("tollgate.db"),
    ];
    assert_eq!(
        modes(&copy),
        [&files[..], &[(".".to_owned(), 0o700)]].concat()
    );
    let token = server
        .api
        .sign_in("admin@example.com", "correct horse")
        .await
        .ok();
    let error = folder.run(&["backup", "copy"]).await.refused();
    assert!(error.contains("is there already"), "{error}");
    server.stop().await;

    // Another machine: the copy is all that there is.
    let other = Arc::new(Folder::new());
    fs::rename(&copy, other.data()).unwrap();
    let server = Server::start_in(&other, &[], &[]).await;
    server.api.get("/api/users/ann/").await.ok();
    let read = server.api.get("/api/secrets/TOKEN/").await.ok();
    assert_eq!(read["data"]["value"], "s3cr3t");
    let ran = server
        .api
        .execute("crm", "echo", &json!({"params": {"a": 1}}))
        .await
        .ok();
    assert_eq!(ran["data"], json!({"a": 1}));
    let bearer = format!("Bearer {}", token["access"].as_str().unwrap());
    server.api.with(&bearer).get("/api/users/me/").await.ok();
    let listed = other.run(&["app", "list", "--json"]).await.json();
    assert_eq!(listed[0]["slug"], "crm");
    server.stop().await;
}

#[tokio::test]
async fn a_stopped_folder_is_copied_too_and_keys_can_stay_away() {
    let folder = Arc::new(Folder::new());
    Server::start_in(&folder, &[], &[]).await.stop().await;
    let said = folder.run(&["backup", "copy", "--without-keys"]).await;
    assert!(said.stderr.contains("the keys are not in it"), "{said:?}");
    said.ok();
    let names: Vec<_> = modes(&folder.path().join("copy"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["tollgate.db", "."]);
    let json = folder.run(&["backup", "second", "--json"]).await.json();
    assert_eq!(json["keys"], json!(["jwt.key", "secrets.key"]));
    let error = folder.run(&["backup", "no/such/place"]).await.refused();
    assert!(error.contains("cannot make"), "{error}");
    assert!(!folder.path().join("no").exists());
}
