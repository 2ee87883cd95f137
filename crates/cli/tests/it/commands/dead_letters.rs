//! `tollgate dead-letters` and `invocations replay`.

use crate::support::server::Server;
use crate::support::watch::Watch;
use serde_json::{Value, json};

const RAISES: &str = "def main(params):\n    print('trying')\n    raise ValueError('no luck')\n";
const WORKS: &str = "def main(params):\n    return {'sent_to': params.get('email')}\n";

/// A function that fails once and for all after a user was created.
async fn failing(server: &Server, name: &str) {
    let once = json!({"max_attempts": 1});
    let function = server.api.function("mail", name, RAISES, &once).await;
    server.api.subscribe("POST_USER_CREATE", function).await;
}

/// Creates a user and waits until its run of `function` is dead.
async fn dead(server: &Server, watch: &mut Watch, user: &str, function: &str) -> i64 {
    server.api.create_user(user).await.ok();
    let newest = server.api.runs_of(function).await.remove(0);
    let id = newest["id"].as_i64().unwrap();
    watch.state(id, "dead").await;
    id
}

async fn mend(server: &Server, function: &str) {
    let path = format!("/api/apps/mail/functions/{function}/");
    let mended = json!({"code": WORKS});
    let request = server.api.request(reqwest::Method::PATCH, &path);
    let answer = server.api.try_send(request.json(&mended)).await;
    answer.unwrap().ok();
}

async fn run(server: &Server, args: &[&str]) -> String {
    server
        .folder
        .run(&[&["dead-letters"], args].concat())
        .await
        .ok()
}

async fn json(server: &Server, args: &[&str]) -> Value {
    let args = [&["dead-letters"], args, &["--json"]].concat();
    server.folder.run(&args).await.json()
}

async fn refused(server: &Server, args: &[&str]) -> String {
    let args = [&["dead-letters"], args].concat();
    server.folder.run(&args).await.refused()
}

#[tokio::test]
async fn a_dead_letter_is_found_mended_and_redriven() {
    let server = Server::start().await;
    server.api.app("mail").await;
    failing(&server, "welcome").await;
    let mut watch = Watch::open(&server.api).await;
    let id = dead(&server, &mut watch, "ann", "welcome").await;
    let number = id.to_string();

    let listed = run(&server, &["list"]).await;
    let line = format!("#{id} welcome v1 POST_USER_CREATE dead");
    let words = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.starts_with("CHANGED RUN FUNCTION"), "{listed}");
    assert!(words.contains(&line), "{listed}");
    assert!(listed.contains("no luck"), "{listed}");
    let listed = json(&server, &["list", "--kind", "exception"]).await;
    assert_eq!(listed[0]["id"], id);
    assert_eq!(
        json(&server, &["list", "--kind", "timeout"]).await,
        json!([])
    );
    let shown = run(&server, &["show", &number]).await;
    for text in ["trying", "line 3, in main", "ann@example.com"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let before = json(&server, &["show", &number]).await;

    mend(&server, "welcome").await;
    let mut watch = Watch::open(&server.api).await;
    let said = run(&server, &["redrive", &number]).await;
    assert_eq!(said, format!("redrove #{id} with version 2\n"));
    watch.state(id, "succeeded").await;
    let after = server.api.invocation(id).await;
    for same in ["id", "task_id", "event_id", "event", "trigger_type"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_eq!(
        (&after["version"], &after["attempt"]),
        (&json!(2), &json!(1))
    );
    let result = &after["task_result"]["result"];
    assert_eq!(*result, json!({"sent_to": "ann@example.com"}));
    assert_eq!(json(&server, &["list"]).await, json!([]));
    let error = refused(&server, &["show", &number]).await;
    assert!(error.contains("Dead letter not found"), "{error}");
    let error = refused(&server, &["redrive", &number]).await;
    assert!(error.contains("no dead letter"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn many_are_redriven_by_filter() {
    let server = Server::start().await;
    server.api.app("mail").await;
    for name in ["welcome", "audit"] {
        failing(&server, name).await;
    }
    let mut watch = Watch::open(&server.api).await;
    let mut letters = Vec::new();
    for user in ["ann", "bob", "cyd"] {
        letters.push(dead(&server, &mut watch, user, "welcome").await);
        let audit = server.api.runs_of("audit").await.remove(0);
        watch.state(audit["id"].as_i64().unwrap(), "dead").await;
    }
    let error = refused(&server, &["redrive"]).await;
    assert!(
        error.contains("--function, --event, --kind or --app, or --all"),
        "{error}"
    );
    let list = json(&server, &["list", "--event", "post_user_create"]).await;
    assert_eq!(list.as_array().unwrap().len(), 6, "{list}");
    for none in [
        &["dead-letters", "list", "--limit", "0"][..],
        &["dead-letters", "redrive", "--all", "--limit", "0"],
        &["invocations", "list", "--limit", "0"],
        &["function", "logs", "welcome", "--limit", "0"],
    ] {
        let said = server.folder.run(none).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains("--limit"), "{said:?}");
    }
    mend(&server, "welcome").await;
    let mut watch = Watch::open(&server.api).await;
    let one = ["redrive", "--function", "welcome", "--limit", "1"];
    assert_eq!(
        json(&server, &one).await,
        json!({"redriven": 1, "skipped": 0})
    );
    watch.state(letters[0], "succeeded").await;
    let rest = [
        "redrive",
        "--function",
        "welcome",
        "--event",
        "POST_USER_CREATE",
    ];
    assert_eq!(
        run(&server, &rest).await,
        "redrove 2 dead letters, skipped 0\n"
    );
    for id in letters {
        watch.state(id, "succeeded").await;
    }
    let left = json(&server, &["list", "--app", "mail"]).await;
    let left: Vec<_> = left.as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|it| it["function_slug"] == "audit"));

    let gone = server.api.delete("/api/apps/mail/functions/audit/").await;
    gone.ok();
    let all = ["redrive", "--all"];
    assert_eq!(
        run(&server, &all).await,
        "redrove 0 dead letters, skipped 3\n"
    );
    let number = left[0]["id"].to_string();
    let error = refused(&server, &["redrive", &number]).await;
    assert!(error.contains("was deleted"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_discarded_letter_stays_as_failed_history() {
    let server = Server::start().await;
    server.api.app("mail").await;
    failing(&server, "welcome").await;
    let mut watch = Watch::open(&server.api).await;
    let id = dead(&server, &mut watch, "ann", "welcome").await;
    let number = id.to_string();
    let said = run(&server, &["discard", &number]).await;
    assert_eq!(said, format!("discarded #{id}\n"));
    assert_eq!(json(&server, &["list"]).await, json!([]));
    let record = server.api.invocation(id).await;
    assert_eq!(record["state"], "failed");
    assert_eq!(record["error"]["kind"], "exception");
    let error = refused(&server, &["discard", &number]).await;
    assert!(error.contains("409"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_run_is_replayed() {
    let server = Server::start().await;
    server.api.app("mail").await;
    let options = json!({"max_attempts": 1});
    let function = server.api.function("mail", "welcome", WORKS, &options);
    let function = function.await;
    server.api.subscribe("POST_USER_CREATE", function).await;
    server.api.create_user("ann").await.ok();
    let first = server.api.runs_of("welcome").await.remove(0);
    let number = first["id"].to_string();
    let mut watch = Watch::open(&server.api).await;
    watch.ended(first["id"].as_i64().unwrap()).await;

    let replay = ["invocations", "replay", &number];
    let said = server.folder.run(&replay).await.ok();
    assert!(said.contains(r#""sent_to": "ann@example.com""#), "{said}");
    let replayed = server.api.runs_of("welcome").await.remove(0);
    assert_eq!(replayed["trigger_type"], "replay");
    assert_eq!(replayed["replay_of"], first["id"]);
    assert_eq!(replayed["event_id"], first["event_id"]);
    assert_ne!(replayed["task_id"], first["task_id"]);

    let broken = json!({"code": RAISES});
    let path = "/api/apps/mail/functions/welcome/";
    let request = server.api.request(reqwest::Method::PATCH, path);
    let deployed = server.api.try_send(request.json(&broken)).await;
    deployed.unwrap().ok();
    let said = server.folder.run(&replay).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("no luck"), "{said:?}");
    let own = [&replay[..], &["--version", "own", "--json"]].concat();
    let own = server.folder.run(&own).await.json();
    assert_eq!(own["invocation"]["version"], 1);
    let queued = [&replay[..], &["--version", "own", "--async"]].concat();
    let queued = server.folder.run(&queued).await.ok();
    let id = queued.trim().strip_prefix("queued as #").unwrap();
    let ended = watch.ended(id.parse().unwrap()).await;
    assert_eq!(ended["state"], "succeeded");
    server.stop().await;
}
