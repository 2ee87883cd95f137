//! E23: requests with an `Idempotency-Key`, many at once, and with the server stopped or killed
//! between a request and its repeat: one effect, one answer.

use crate::support::api::{Answer, Api};
use crate::support::code::{AGREE, ECHO};
use crate::support::server::Server;
use crate::support::watch::Watch;
use crate::tenants::two_sites;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const USERS: &str = "/api/users/";
const AT_ONCE: usize = 100;
/// Writers, and answers before the kill.
const WRITERS: usize = 16;
const ANSWERS: usize = 60;

fn user(name: &str) -> Value {
    json!({"username": name, "email": format!("{name}@example.com")})
}

/// A PRE function that agrees and a POST function, subscribed to the creation of users.
async fn subscribed(api: &Api) {
    api.app("checks").await;
    for (name, code, event) in [
        ("agrees", AGREE, "PRE_USER_CREATE"),
        ("greets", ECHO, "POST_USER_CREATE"),
    ] {
        let id = api.function("checks", name, code, &json!({})).await;
        api.subscribe(event, id).await;
    }
}

async fn once(api: &Api, path: &str, key: &str, body: &Value) -> Answer {
    api.post_once(path, key, body).await.unwrap()
}

/// Asserts that a repeat gives what was answered first.
async fn assert_replays(api: &Api, key: &str, body: &Value, first: &Value) {
    let again = once(api, USERS, key, body).await;
    assert_eq!((again.status, again.replayed), (201, true), "{again:?}");
    assert_eq!(&again.body, first);
}

#[tokio::test]
async fn a_hundred_at_once_then_others_then_restarts() {
    let (server, acme) = two_sites().await;
    let folder = Arc::clone(&server.folder);
    subscribed(&server.api).await;
    let ann = user("ann");
    let asked = (0..AT_ONCE).map(|_| once(&server.api, USERS, "k", &ann));
    let answers = join_all(asked).await;
    let first = answers.iter().find(|answer| !answer.replayed).unwrap();
    assert_eq!(first.status, 201, "{first:?}");
    let replayed = answers.iter().filter(|answer| answer.replayed).count();
    assert_eq!(replayed, AT_ONCE - 1);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &first.body));
    }
    assert_eq!(server.api.get(USERS).await.ok()["total"], 2);
    for function in ["agrees", "greets"] {
        let runs = server.api.runs_of(function).await;
        assert_eq!(runs.len(), 1, "{function}: {runs:?}");
    }

    let other = once(&server.api, USERS, "k", &user("bob")).await;
    assert!(other.refused(409, "CONFLICT").contains("Idempotency-Key"));
    let theirs = once(&acme, USERS, "k", &ann).await;
    assert_eq!((theirs.status, theirs.replayed), (201, false), "{theirs:?}");
    assert_ne!(theirs.body, first.body);

    let first = first.body.clone();
    server.stop().await;
    let server = Server::start_in(&folder, &[], &[]).await;
    assert_replays(&server.api, "k", &ann, &first).await;
    server.kill().await;
    let server = Server::start_in(&folder, &[], &[]).await;
    assert_replays(&server.api, "k", &ann, &first).await;
    assert_eq!(server.api.get(USERS).await.ok()["total"], 2);
    server.stop().await;
}

/// Whether a writer got its answer or not, the repeat is answered as the request would have been.
#[tokio::test]
async fn requests_that_a_kill_left_open_are_repeated_without_a_second_effect() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    subscribed(&server.api).await;
    let (sender, mut answers) = mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (api, sender) = (server.api.clone(), sender.clone());
        writers.spawn(create_until_refused(api, writer, sender));
    }
    drop(sender);
    let mut asked = Vec::new();
    while asked.iter().filter(|(_, answer)| is_some(answer)).count() < ANSWERS {
        asked.push(answers.recv().await.unwrap());
    }
    server.kill().await;
    while let Some(one) = answers.recv().await {
        asked.push(one);
    }
    writers.join_all().await;

    let server = Server::start_in(&folder, &[], &[]).await;
    let mut names = Vec::new();
    for (name, answer) in asked {
        let saved = server.api.get(&format!("{USERS}{name}/")).await.status == 200;
        let again = once(&server.api, USERS, &name, &user(&name)).await;
        // The user and the answer are both on disk or neither is.
        assert_eq!(
            (again.status, again.replayed),
            (201, saved),
            "{name}: {again:?}"
        );
        if let Some(first) = answer {
            assert!(saved, "{name} was answered before the kill");
            assert_eq!(again.body, first);
        }
        names.push(name);
    }
    names.sort();
    assert_eq!(greeted(&server.api, names.len()).await, names);
    let total = &server.api.get(USERS).await.ok()["total"];
    assert_eq!(total, names.len() + 1);
    server.stop().await;
}

const fn is_some(answer: &Option<Value>) -> bool {
    answer.is_some()
}

/// Creates users, each under its name as key, until the connection breaks.
async fn create_until_refused(
    api: Api,
    writer: usize,
    asked: mpsc::UnboundedSender<(String, Option<Value>)>,
) {
    for number in 0.. {
        let name = format!("user-{writer}-{number}");
        let answer = api.post_once(USERS, &name, &user(&name)).await.ok();
        let broken = answer.is_none();
        let body = answer.map(|answer| {
            assert_eq!(answer.status, 201, "{answer:?}");
            answer.body
        });
        asked.send((name, body)).unwrap();
        if broken {
            return;
        }
    }
}

/// Whom the POST function has greeted, once it has nothing left to do.
async fn greeted(api: &Api, expected: usize) -> Vec<String> {
    let mut watch = Watch::open(api).await;
    let mut names = Vec::new();
    for offset in (0..=expected).step_by(100) {
        let path = format!("/api/invocations/?function_slug=greets&limit=100&offset={offset}");
        let listed = api.get(&path).await.ok();
        for run in listed["data"].as_array().unwrap() {
            let run = watch.ended(run["id"].as_i64().unwrap()).await;
            assert_eq!(run["state"], "succeeded", "{run}");
            let name = &run["task_result"]["result"]["username"];
            names.push(name.as_str().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

/// Queued runs, which nobody waits for, are not doubled either.
#[tokio::test]
async fn a_run_is_queued_once_across_a_kill() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    server.api.app("jobs").await;
    server.api.function("jobs", "echo", ECHO, &json!({})).await;
    let path = "/api/apps/jobs/functions/echo/execute/";
    let body = json!({"params": {"n": 1}, "async": true});
    let asked = (0..AT_ONCE).map(|_| once(&server.api, path, "k", &body));
    let answers = join_all(asked).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (202, &answers[0].body));
    }
    server.kill().await;
    let server = Server::start_in(&folder, &[], &[]).await;
    let again = once(&server.api, path, "k", &body).await;
    assert_eq!((again.replayed, &again.body), (true, &answers[0].body));
    let id = again.body["invocation"]["id"].as_i64().unwrap();
    let run = Watch::open(&server.api).await.ended(id).await;
    assert_eq!(run["task_result"]["result"], json!({"n": 1}), "{run}");
    assert_eq!(server.api.runs_of("echo").await.len(), 1);
    server.stop().await;
}
