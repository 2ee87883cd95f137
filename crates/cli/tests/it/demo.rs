//! `serve --demo`: what it prints works as it stands.

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use crate::support::{skipped, soon};
use serde_json::Value;
use std::sync::Arc;
use tokio::process::Command;

/// Gives a line to a shell and reads the JSON that it prints.
async fn paste(line: &str) -> Value {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line])
        .env("no_proxy", "127.0.0.1")
        .env("NO_PROXY", "127.0.0.1");
    let output = soon(line, shell.output()).await.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The lines to paste, in the order in which they are printed.
async fn curl_lines(server: &mut Server) -> Vec<String> {
    server.stdout.line("/api/invocations/").await;
    let said = server.stdout.so_far();
    said.lines()
        .filter(|line| line.starts_with("curl "))
        .map(str::to_owned)
        .collect()
}

async fn curl_is_here() -> bool {
    let found = Command::new("curl").arg("--version").output().await.is_ok();
    if !found {
        skipped("the demo's lines: there is no curl");
    }
    found
}

#[tokio::test]
async fn the_printed_lines_work_as_they_are() {
    if !curl_is_here().await {
        return;
    }
    let folder = Arc::new(Folder::new());
    let mut server = Server::start_in(&folder, &["--demo"], &[]).await;
    let lines = curl_lines(&mut server).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let mut watch = Watch::open(&server.api).await;

    let john = paste(&lines[0]).await;
    assert_eq!(john["success"], true, "{john}");
    assert_eq!(john["data"]["username"], "john");
    assert_eq!(john["data"]["first_name"], "John");
    assert_eq!(john["data"]["attributes"]["company"], "Example");
    let read = server.api.get("/api/users/john/").await.ok();
    assert_eq!(read["data"]["attributes"]["plan"], "free", "{read}");

    let eve = paste(&lines[1]).await;
    assert_eq!(eve["code"], "PRE_EVENT_DENIED", "{eve}");
    let message = eve["message"].as_str().unwrap();
    assert!(message.contains("Validate User Data"), "{message}");
    assert!(
        message.contains("blocked.example are not accepted"),
        "{message}"
    );
    server
        .api
        .get("/api/users/eve/")
        .await
        .refused(404, "NOT_FOUND");

    let [welcome] = &server.api.runs_of("welcome-message").await[..] else {
        panic!("not one welcome");
    };
    let welcome = watch.ended(welcome["id"].as_i64().unwrap()).await;
    assert_eq!(
        welcome["task_result"]["result"]["sent_to"],
        "john@example.com"
    );

    let listed = paste(&lines[2]).await;
    assert_eq!(listed["total"], 5, "{listed}");
    every_run_has_logs_and_duration(&server, &listed["data"]).await;
    server.stop().await;
}

async fn every_run_has_logs_and_duration(server: &Server, listed: &Value) {
    for summary in listed.as_array().unwrap() {
        let run = server.api.invocation(summary["id"].as_i64().unwrap()).await;
        assert!(run["duration_ms"].as_f64().unwrap() > 0.0, "{run}");
        if run["state"] == "cancelled" {
            // The refusal may end the enrichment of the same user before it began.
            assert_eq!(run["function_slug"], "enrich-profile", "{run}");
            assert_eq!(run["task_result"]["task_args"]["username"], "eve", "{run}");
            continue;
        }
        assert_eq!(run["state"], "succeeded", "{run}");
        assert_eq!(run["log_count"], 1, "{run}");
        assert_eq!(run["logs"].as_array().unwrap().len(), 1, "{run}");
    }
}

/// No function without rights changes an account that has some, so the enricher is not asked about them.
#[tokio::test]
async fn staff_can_be_created_beside_the_examples() {
    let folder = Arc::new(Folder::new());
    let mut server = Server::start_in(&folder, &["--demo"], &[]).await;
    server.stdout.line("/api/invocations/").await;
    let body = serde_json::json!({"username": "sam", "email": "sam@example.com", "is_staff": true});
    let sam = server.api.post("/api/users/", &body).await.ok();
    assert_eq!(sam["data"]["is_staff"], true, "{sam}");
    assert_eq!(sam["data"]["first_name"], "", "{sam}");
    let blocked =
        serde_json::json!({"username": "eve", "email": "eve@blocked.example", "is_staff": true});
    let refused = server.api.post("/api/users/", &blocked).await;
    refused.refused(400, "PRE_EVENT_DENIED");
    server.stop().await;
}

#[tokio::test]
async fn the_demo_can_be_repeated() {
    let folder = Arc::new(Folder::new());
    let mut first = Server::start_in(&folder, &["--demo"], &[]).await;
    first.stdout.line("with password").await;
    first.api.create_user("ann").await.ok();
    let before = contents(&first).await;
    first.stop().await;

    let mut second = Server::start_in(&folder, &["--demo"], &[]).await;
    assert_eq!(curl_lines(&mut second).await.len(), 3);
    assert!(
        !second.stdout.so_far().contains("password"),
        "it is shown once"
    );
    assert_eq!(contents(&second).await, before);
    second.create_still_works().await;
    second.stop().await;
}

impl Server {
    async fn create_still_works(&self) {
        let bob = self.api.create_user("bob").await.ok();
        assert_eq!(bob["data"]["first_name"], "Bob", "{bob}");
    }
}

/// Everything that the demo makes, without the times at which users signed in.
async fn contents(server: &Server) -> Vec<Value> {
    let mut contents = Vec::new();
    for path in [
        "/api/apps/",
        "/api/apps/user-management/functions/",
        "/api/apps/user-management/events/PRE_USER_CREATE/",
        "/api/apps/user-management/events/POST_USER_CREATE/",
        "/api/users/",
    ] {
        contents.push(server.api.get(path).await.ok()["data"].clone());
    }
    contents
}
