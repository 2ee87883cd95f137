//! The request behind an event: in filters, on the record, in what functions are told; kept when a run is repeated.

use super::{agrees, create, ended, on, refuses, runs, world};
use crate::app::TestApp;
use serde_json::{Value, json};
use tollgate_core::limits;
use tollgate_testkit::fake_runtime::Behaviour;

/// Creates a user with a program that calls itself so; the answer's request id.
async fn create_by(app: &TestApp, token: &str, name: &str, agent: &str) -> String {
    let body = json!({"username": name, "email": format!("{name}@example.com")});
    let asking = app.post("/api/users/", &body).bearer(token);
    let answer = asking.header("user-agent", agent).send().await;
    let id = answer.header("x-request-id").to_owned();
    answer.ok();
    id
}

#[tokio::test]
async fn a_filter_lets_one_kind_of_credential_through() {
    let (app, root) = world().await;
    let id = refuses(&app, &root, "PRE_USER_CREATE", "check").await;
    let filter = "event.request != null && event.request.credential_kind == 'api_key'";
    let body = json!({"function_id": id, "filter": filter});
    let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    let asking = app.ask("PATCH", path).json(&body).bearer(&root);
    asking.send().await.ok();
    create(&app, &root, "ann").await.ok();
    let keys = "/api/cloud/auth/api-keys/";
    let key = app.post(keys, &json!({"name": "k"})).bearer(&root);
    let key = key.send().await.ok()["data"]["key"].clone();
    let body = json!({"username": "bob", "email": "bob@example.com"});
    let asking = app.post("/api/users/", &body);
    let key = format!("Api-Key {}", key.as_str().unwrap());
    let refused = asking.header("authorization", &key).send().await;
    refused.is_error(400, "PRE_EVENT_DENIED");
    // What a function causes has none, and the filter can be asked all the same.
    let id = app.function(&root, "Copy").await;
    assert!(id > 0);
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "copy", &rights).await.ok();
    let path = "/api/apps/user-management/functions/copy/execute/";
    let body = json!({"params": {"username": "cyd"}});
    let asking = app.post(path, &body).header("authorization", &key);
    asking.send().await.ok();
}

#[tokio::test]
async fn a_filter_on_a_request_that_is_not_there_fails_closed() {
    let (app, root) = world().await;
    let id = agrees(&app, &root, "PRE_USER_CREATE", "check").await;
    let body = json!({"function_id": id, "filter": "event.request.host == 'localhost'"});
    let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    let asking = app.ask("PATCH", path).json(&body).bearer(&root);
    asking.send().await.ok();
    create(&app, &root, "ann").await.ok();
    app.function(&root, "Copy").await;
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "copy", &rights).await.ok();
    let path = "/api/apps/user-management/functions/copy/execute/";
    let body = json!({"params": {"username": "bob"}});
    let answer = app.post(path, &body).bearer(&root).send().await;
    let message = answer.is_error(400, "FUNCTION_FAILED");
    assert!(message.contains("could not be evaluated"), "{message}");
}

#[tokio::test]
async fn functions_and_records_tell_of_the_request() {
    let (app, root) = world().await;
    let id = app.function(&root, "Show").await;
    for event in ["PRE_USER_CREATE", "POST_USER_CREATE"] {
        app.subscribe(&root, event, id).await;
    }
    let request_id = create_by(&app, &root, "ann", "trial/1.0").await;
    let expected = json!({"ip": null, "user_agent": "trial/1.0", "request_id": request_id,
        "credential_kind": "jwt", "host": "localhost"});
    for run in ended(&app, &root, "show", 2).await {
        assert_eq!(run["request"], expected, "{run}");
        assert_eq!(run["task_result"]["result"], json!({"seen": expected}));
    }
    // A call has one as well, and so has a stranger's.
    app.change(&root, "show", &json!({"is_public": true}))
        .await
        .ok();
    let public = "/api/public/apps/user-management/functions/show/execute/";
    let told = app.post(public, &json!({})).header("user-agent", "s");
    let told = told.send().await.ok()["data"]["seen"].clone();
    assert_eq!(
        (&told["user_agent"], &told["credential_kind"]),
        (&json!("s"), &Value::Null)
    );
}

#[tokio::test]
async fn what_a_function_causes_has_none() {
    let (app, root) = world().await;
    app.function(&root, "Copy").await;
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "copy", &rights).await.ok();
    let id = app.function(&root, "Show").await;
    for event in ["PRE_USER_CREATE", "POST_USER_CREATE"] {
        app.subscribe(&root, event, id).await;
    }
    let path = "/api/apps/user-management/functions/copy/execute/";
    let body = json!({"params": {"username": "ann"}});
    app.post(path, &body).bearer(&root).send().await.ok();
    for run in ended(&app, &root, "show", 2).await {
        assert_eq!(run["request"], Value::Null, "{run}");
        assert_eq!(run["task_result"]["result"], json!({"seen": null}));
    }
    let copy = &runs(&app, &root, "copy").await[0];
    assert_eq!(copy["request"]["host"], "localhost", "{copy}");
}

#[tokio::test]
async fn only_readers_see_it_on_a_record_that_they_did_not_ask_for() {
    let (app, root) = world().await;
    agrees(&app, &root, "PRE_USER_UPDATE", "check").await;
    app.function(&root, "Show").await;
    let ann = app.user(&root, "ann", &[]).await;
    let me = app
        .ask("PATCH", "/api/users/ann/")
        .json(&json!({"last_name": "Q"}));
    me.bearer(&ann).send().await.ok();
    let run = &ended(&app, &root, "check", 1).await[0];
    assert_eq!(run["request"]["credential_kind"], "jwt", "{run}");
    let path = format!("/api/invocations/{}/", run["id"]);
    let seen = app.get(&path).bearer(&ann).send().await.ok();
    assert_eq!(seen["request"], Value::Null, "{seen}");
    // What she asks for herself is hers, also when she may read runs no more.
    let role = json!({"roles": ["user-management:developer"], "usernames": ["ann"]});
    let assign = app.post("/api/assign/roles/", &role).bearer(&root);
    assign.send().await.ok();
    let path = "/api/apps/user-management/functions/show/execute/";
    let run = app.post(path, &json!({})).bearer(&ann).send().await.ok();
    let revoke = app.ask("DELETE", "/api/revoke/roles/").json(&role);
    revoke.bearer(&root).send().await.ok();
    let path = format!("/api/invocations/{}/", run["invocation"]["id"]);
    let seen = app.get(&path).bearer(&ann).send().await.ok();
    assert_eq!(seen["request"]["host"], "localhost", "{seen}");
}

#[tokio::test]
async fn a_replay_is_told_of_the_first_request() {
    let (app, root) = world().await;
    let id = app.function(&root, "Show").await;
    app.subscribe(&root, "POST_USER_CREATE", id).await;
    create_by(&app, &root, "ann", "first").await;
    let first = ended(&app, &root, "show", 1).await.remove(0);
    for queued in [false, true] {
        let path = format!("/api/invocations/{}/replay/", first["id"]);
        let asking = app.post(&path, &json!({"async": queued})).bearer(&root);
        asking.header("user-agent", "second").send().await.ok();
    }
    for run in ended(&app, &root, "show", 3).await {
        assert_eq!(run["request"], first["request"], "{run}");
        let seen = &run["task_result"]["result"]["seen"];
        assert_eq!(seen["user_agent"], "first", "{run}");
    }
}

#[tokio::test]
async fn a_redriven_run_is_told_of_the_first_request() {
    let (app, root) = world().await;
    let id = app.function(&root, "Show After Go").await;
    let rights = json!({"permissions": ["users.read"], "max_attempts": 1});
    app.change(&root, "show-after-go", &rights).await.ok();
    app.subscribe(&root, "POST_USER_CREATE", id).await;
    create_by(&app, &root, "ann", "first").await;
    let dead = ended(&app, &root, "show-after-go", 1).await.remove(0);
    assert_eq!(dead["state"], "dead", "{dead}");
    let unsubscribe = "/api/cloud/events/POST_USER_CREATE/unsubscribe/";
    let asking = app.post(unsubscribe, &json!({"function_id": id}));
    asking.bearer(&root).send().await.ok();
    create_by(&app, &root, "go", "second").await;
    let path = format!("/api/dead-letters/{}/redrive/", dead["id"]);
    let asking = app.post(&path, &json!({})).bearer(&root);
    asking.header("user-agent", "third").send().await.ok();
    let again = ended(&app, &root, "show-after-go", 1).await.remove(0);
    assert_eq!(again["state"], "succeeded", "{again}");
    assert_eq!(again["request"], dead["request"], "{again}");
    let seen = &again["task_result"]["result"]["seen"];
    assert_eq!(seen["user_agent"], "first", "{again}");
}

#[tokio::test]
async fn a_long_user_agent_is_cut() {
    let (app, root) = world().await;
    let long = Behaviour::Return(Value::Null);
    on(&app, &root, "PRE_USER_CREATE", "check", long).await;
    create_by(&app, &root, "ann", &"a".repeat(10 * 1024)).await;
    let run = &ended(&app, &root, "check", 1).await[0];
    let agent = run["request"]["user_agent"].as_str().unwrap();
    assert_eq!(agent, "a".repeat(limits::USER_AGENT_BYTES));
}
