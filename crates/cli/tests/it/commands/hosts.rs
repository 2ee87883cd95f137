//! Host names: with a base domain, and where the server listens on every address, everything works as it is printed.

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::soon;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::process::Command;

const BASE: (&str, &str) = ("TOLLGATE_BASE_DOMAIN", "example.test");

#[tokio::test]
async fn with_a_base_domain_commands_and_printed_lines_work_as_they_are() {
    let folder = Arc::new(Folder::new());
    let mut server = Server::start_in(&folder, &["--demo"], &[BASE]).await;
    server.stdout.line("/api/invocations/").await;
    let said = server.stdout.so_far();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 3, "{said}");
    if Command::new("curl").arg("--version").output().await.is_ok() {
        for (line, success) in lines.iter().zip([true, false, true]) {
            let mut shell = Command::new("sh");
            let ran = soon(line, shell.args(["-c", line]).env("NO_PROXY", "*").output())
                .await
                .unwrap();
            let answer: Value = serde_json::from_slice(&ran.stdout)
                .unwrap_or_else(|error| panic!("{error}: {line} {ran:?}"));
            assert_eq!(answer["success"], success, "{line}: {answer}");
        }
    }
    let run = async |args: &[&str]| folder.run_with(args, &[BASE]).await;
    let apps = run(&["app", "list", "--json"]).await.json();
    assert_eq!(apps[0]["slug"], "user-management");
    // The key file says where each site is.
    let key = run(&["admin", "api-key", "--json"]).await.json();
    assert_eq!(key["host"], "default.example.test");
    let at = server.api.at("default.example.test");
    at.get("/api/users/me/").await.ok();

    run(&["site", "create", "acme"]).await.ok();
    run(&[
        "admin",
        "create",
        "--site",
        "acme",
        "--email",
        "a@acme.test",
    ])
    .await
    .ok();
    run(&["app", "create", "crm", "--site", "acme"]).await.ok();
    let listed = run(&["app", "list", "--json", "--site", "acme"])
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let sites = run(&["site", "list", "--json"]).await.json();
    assert_eq!(sites[1]["host"], "acme.example.test", "{sites}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[BASE]).await;
    for (host, named) in [
        ("nowhere.example.test", "'nowhere.example.test'"),
        ("Other.Test:8000", "'other.test'"),
        ("127.0.0.1", "'127.0.0.1'"),
    ] {
        let answer = server.api.at(host).get("/api/users/me/").await;
        let message = answer.refused(404, "NOT_FOUND");
        assert!(message.contains(named), "{message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_that_is_printed_names_every_address() {
    for listen in ["0.0.0.0:0", ":0", "localhost:0"] {
        let folder = Arc::new(Folder::new());
        // The last one wins.
        let mut server = Server::start_in(&folder, &["--demo", "--listen", listen], &[]).await;
        server.stdout.line("/api/invocations/").await;
        let said = server.stdout.so_far() + &server.stderr.so_far();
        assert!(
            !said.contains("0.0.0.0") && !said.contains("[::]"),
            "{listen}: {said}"
        );
        let cli = std::fs::read_to_string(folder.data().join("cli.json")).unwrap();
        assert!(
            !cli.contains("0.0.0.0") && !cli.contains("[::]"),
            "{listen}: {cli}"
        );
        folder.run(&["app", "list"]).await.ok();
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_on_this_machine_is_reached_without_a_proxy() {
    let server = Server::start().await;
    let proxy = [
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("http_proxy", "http://127.0.0.1:9"),
    ];
    let listed = server
        .folder
        .run_with(&["app", "list", "--json"], &proxy)
        .await
        .json();
    assert_eq!(listed, json!([]));
    server.stop().await;
}
