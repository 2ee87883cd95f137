//! The server is asked to stop, or started twice.

use crate::support::begun::Begun;
use crate::support::code::until_exists;
use crate::support::folder::Folder;
use crate::support::server::{Server, WITHOUT_WALLS};
use crate::support::watch::Watch;
use rustix::process::Signal;
use serde_json::json;
use std::sync::Arc;

const SHORT_GRACE: (&str, &str) = ("TOLLGATE_GRACE_SECONDS", "0.2");

/// A server with a function that ends once the file `go` exists.
async fn server_with_held(settings: &[(&str, &str)]) -> (Server, i64) {
    let settings = [&[WITHOUT_WALLS], settings].concat();
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &settings).await;
    let file = server.folder.path().join("go");
    server.api.app("held").await;
    let id = server
        .api
        .function("held", "greet", &until_exists(&file), &json!({}))
        .await;
    (server, id)
}

/// Creates a user and waits until its POST run is under way.
async fn running_post_run(server: &Server, function: i64) -> i64 {
    server.api.subscribe("POST_USER_CREATE", function).await;
    let mut watch = Watch::open(&server.api).await;
    server.api.create_user("ann").await.ok();
    let [run] = &server.api.runs_of("greet").await[..] else {
        panic!("not one run")
    };
    let id = run["id"].as_i64().unwrap();
    watch.state(id, "running").await;
    id
}

#[tokio::test]
async fn a_run_that_ends_within_the_grace_is_recorded() {
    let (server, function) = server_with_held(&[]).await;
    let folder = Arc::clone(&server.folder);
    let run = running_post_run(&server, function).await;
    let watch = Watch::open(&server.api).await;
    server.signal(Signal::TERM);
    watch.closed().await;
    folder.write("go", "");
    let stderr = server.stderr.clone();
    assert_eq!(server.ended().await.code(), Some(0));
    // Whatever was started had ended by then.
    let said = stderr.so_far();
    assert!(!said.contains("does not end"), "{said}");

    // Without the file, it could not run again.
    std::fs::remove_file(folder.path().join("go")).unwrap();
    let server = Server::without_walls(&folder).await;
    let run = server.api.invocation(run).await;
    assert_eq!(
        (&run["state"], &run["attempt"]),
        (&json!("succeeded"), &json!(1))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_run_that_does_not_end_is_handed_back() {
    let (server, function) = server_with_held(&[SHORT_GRACE]).await;
    let folder = Arc::clone(&server.folder);
    let run = running_post_run(&server, function).await;
    let mut stderr = server.stderr.clone();
    server.stop().await;
    stderr.line("handed work back").await;

    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    let run = Watch::open(&server.api).await.ended(run).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let server = Server::without_walls(&Arc::new(Folder::new())).await;
    let begun = Begun::new(&server.folder);
    server.api.app("slow").await;
    let id = server
        .api
        .function("slow", "check", &begun.code(), &json!({}))
        .await;
    server.api.subscribe("PRE_USER_CREATE", id).await;
    let watch = Watch::open(&server.api).await;
    let api = server.api.clone();
    let caller = tokio::spawn(async move { api.create_user("ann").await });
    begun.heard().await;
    server.signal(Signal::TERM);
    watch.closed().await;
    server.folder.write("go", "");
    assert_eq!(caller.await.unwrap().status, 201);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (server, function) = server_with_held(&[]).await;
    running_post_run(&server, function).await;
    let started = server.processes();
    let mut stderr = server.stderr.clone();
    server.signal(Signal::INT);
    stderr.line("a second signal ends at once").await;
    // It says what it waits for.
    let line = stderr.line("waits up to").await;
    assert!(line.contains("s for 1 run: "), "{line}");
    server.signal(Signal::INT);
    assert_eq!(server.ended().await.code(), Some(130));
    let ended = crate::support::poll::holds_soon(|| !started.iter().any(|it| it.runs()));
    assert!(ended, "left behind: {started:?}");
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let server = Server::start().await;
    let folder = &server.folder;
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["migrate"],
        &["admin", "rotate-key"],
    ] {
        let error = folder.run(args).await.refused();
        assert!(
            error.contains("in use by another tollgate process (pid "),
            "{args:?}: {error}"
        );
    }
    // The address is the running server's still.
    let listed = folder.run(&["events", "list"]).await.ok();
    assert!(listed.contains("PRE_USER_CREATE"), "{listed}");
    server.api.create_user("ann").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_second_server_is_told_what_is_taken_and_what_to_do() {
    let server = Server::start().await;
    let listen = server.api.url.trim_start_matches("http://").to_owned();
    let second = ["serve", "--listen", &listen];
    // That another server has the folder says more.
    let refused = server.folder.run(&second).await.refused();
    assert!(refused.contains("in use by another"), "{refused}");
    let refused = Folder::new().run(&second).await.refused();
    let named = format!("cannot listen on {listen}");
    for says in [&named, "another program has this port", "--listen"] {
        assert!(refused.contains(says), "{refused}");
    }
    // An address for documents, which no machine has.
    let nowhere = ["serve", "--listen", "192.0.2.1:0"];
    let refused = Folder::new().run(&nowhere).await.refused();
    assert!(refused.contains("no such address"), "{refused}");
    server.stop().await;
}
