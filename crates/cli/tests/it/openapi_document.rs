//! Requests made from the OpenAPI document, by schemathesis: whatever is sent, no answer is a 5xx
//! and every answer is one that the document names.
//!
//! `TEST_SCHEMATHESIS` names the program; otherwise it is looked for in `PATH`. The seed is fixed,
//! and can be set with `TOLLGATE_SEED`.

use crate::support::server::Server;
use crate::support::{folder::Folder, skipped};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// Values that exist, so that not every request ends at a 404.
const KNOWN: &str = r#"
[parameters]
"path.app" = ["user-management", "none"]
"path.slug" = ["validate-user-data", "welcome-message", "none"]
"path.event" = ["PRE_USER_CREATE", "POST_USER_UPDATE", "NO_EVENT"]
"path.username" = ["admin", "nobody"]
"path.id" = [1, 2, 999999]
"path.version" = [1, 99]
"#;
/// Far longer than it takes.
const LONG: Duration = Duration::from_secs(300);

async fn program() -> Option<String> {
    let program = std::env::var("TEST_SCHEMATHESIS").unwrap_or("schemathesis".to_owned());
    match Command::new(&program).arg("--version").output().await {
        Ok(output) if output.status.success() => Some(program),
        _ => {
            skipped(&format!(
                "requests from the document: {program} cannot be run"
            ));
            None
        }
    }
}

async fn ask(program: &str, server: &Server, credential: Option<&str>) {
    let seed = std::env::var("TOLLGATE_SEED").unwrap_or("1".to_owned());
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(format!("{}/api/openapi.json", server.api.url))
        .args(["--max-examples", "20", "--seed", &seed, "--no-color"])
        .arg("--checks")
        .arg(
            "not_a_server_error,status_code_conformance,content_type_conformance,\
             response_schema_conformance",
        )
        // The stream does not end, and whoever deletes its own key has none.
        .args(["--exclude-path", "/api/invocations/stream/"])
        .args(["--exclude-path-regex", "^/api/cloud/auth/api-keys/"])
        .current_dir(server.folder.path());
    if let Some(credential) = credential {
        command.args(["-H", &format!("Authorization: {credential}")]);
    }
    let output = tokio::time::timeout(LONG, command.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "seed {seed}\n{said}");
    let passed = said.lines().any(|line| line.contains(" passed"));
    assert!(passed, "it tested nothing\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_in_the_document_and_none_is_a_5xx() {
    let Some(program) = program().await else {
        return;
    };
    let server = Server::start_in(&Arc::new(Folder::new()), &["--demo"], &[]).await;
    server.folder.write("schemathesis.toml", KNOWN);
    let key = server.folder.run(&["admin", "api-key"]).await.ok();
    ask(&program, &server, Some(&format!("Api-Key {}", key.trim()))).await;
    ask(&program, &server, None).await;
    ask(&program, &server, Some("Bearer not.a.token")).await;
    server.api.get("/healthz").await.ok();
    server.stop().await;
}
