//! The server is killed: what was promised is kept, and no interpreter outlives it.

use crate::support::api::Api;
use crate::support::begun::Begun;
use crate::support::code::until_exists;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const WRITERS: usize = 4;
/// Answers before the kill.
const ANSWERS: usize = 30;

/// A POST function that cannot end before the file `go` exists.
async fn held_post_function(server: &Server) {
    let file = server.folder.path().join("go");
    server.api.app("held").await;
    let id = server
        .api
        .function("held", "greet", &until_exists(&file), &json!({}))
        .await;
    server.api.subscribe("POST_USER_CREATE", id).await;
}

#[tokio::test]
async fn a_post_run_survives_the_kill() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    held_post_function(&server).await;
    assert_eq!(server.api.create_user("ann").await.status, 201);
    server.kill().await;

    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    let mut watch = Watch::open(&server.api).await;
    let [run] = &server.api.runs_of("greet").await[..] else {
        panic!("not one run")
    };
    let run = watch.ended(run["id"].as_i64().unwrap()).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    assert_eq!(run["task_result"]["result"], json!({"for": "ann"}));
    assert_eq!(run["event"], "POST_USER_CREATE");
    server.api.get("/api/users/ann/").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_run_that_was_under_way_keeps_its_ids() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    held_post_function(&server).await;
    let mut watch = Watch::open(&server.api).await;
    server.api.create_user("ann").await.ok();
    let [before] = &server.api.runs_of("greet").await[..] else {
        panic!("not one run")
    };
    let id = before["id"].as_i64().unwrap();
    watch.state(id, "running").await;
    server.kill().await;

    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    let after = Watch::open(&server.api).await.ended(id).await;
    assert_eq!(after["state"], "succeeded", "{after}");
    for key in ["task_id", "event_id"] {
        assert_eq!(after[key], before[key], "{key}: {after}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_caller_who_waited_in_vain_saved_nothing() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    let begun = Begun::new(&folder);
    server.api.app("slow").await;
    let id = server
        .api
        .function("slow", "check", &begun.code(), &json!({}))
        .await;
    server.api.subscribe("PRE_USER_CREATE", id).await;
    let api = server.api.clone();
    let caller = tokio::spawn(async move {
        let body = json!({"username": "ann", "email": "ann@example.com"});
        let request = api.request(Method::POST, "/api/users/").json(&body);
        api.try_send(request).await.map(|answer| answer.status)
    });
    begun.heard().await;
    server.kill().await;
    assert!(
        caller.await.unwrap().is_err(),
        "an answer came from a killed server"
    );

    let server = Server::without_walls(&folder).await;
    server
        .api
        .get("/api/users/ann/")
        .await
        .refused(404, "NOT_FOUND");
    // Its record may not have reached the disk: nothing was promised yet.
    for run in server.api.runs_of("check").await {
        assert_eq!(run["state"], "cancelled", "{run}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answered_user_has_exactly_one_post_run() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    held_post_function(&server).await;
    let (answered, mut answers) = mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(create_until_refused(
            server.api.clone(),
            writer,
            answered.clone(),
        ));
    }
    drop(answered);
    let mut names = Vec::new();
    while names.len() < ANSWERS {
        names.push(answers.recv().await.unwrap());
    }
    server.kill().await;
    while let Some(name) = answers.recv().await {
        names.push(name);
    }
    writers.join_all().await;

    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    let mut watch = Watch::open(&server.api).await;
    let mut greeted = Vec::new();
    for run in server.api.runs_of("greet").await {
        let run = watch.ended(run["id"].as_i64().unwrap()).await;
        assert_eq!(run["state"], "succeeded", "{run}");
        greeted.push(
            run["task_result"]["result"]["for"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    greeted.sort();
    for name in &names {
        assert!(greeted.contains(name), "{name} was promised: {greeted:?}");
    }
    // A user whose answer was lost has its run too, and nobody has two.
    assert_eq!(greeted, saved_users(&server.api).await);
    server.stop().await;
}

/// Creates users until the connection breaks.
async fn create_until_refused(api: Api, writer: usize, answered: mpsc::UnboundedSender<String>) {
    for number in 0..20 {
        let name = format!("user-{writer}-{number}");
        let body = json!({"username": name, "email": format!("{name}@example.com")});
        let request = api.request(Method::POST, "/api/users/").json(&body);
        match api.try_send(request).await {
            Ok(answer) => assert_eq!(answer.status, 201, "{answer:?}"),
            Err(_) => return,
        }
        answered.send(name).unwrap();
    }
}

/// The names of all users but the superuser.
async fn saved_users(api: &Api) -> Vec<String> {
    let listed = api.get("/api/users/?page_size=100").await.ok();
    let users = listed["data"].as_array().unwrap();
    let name = |user: &Value| user["username"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = users
        .iter()
        .map(name)
        .filter(|name| name != "admin")
        .collect();
    names.sort();
    names
}
