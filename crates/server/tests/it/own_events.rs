//! `sdk_client.events.publish`: what functions publish, and what runs then.

use crate::app::TestApp;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tollgate_core::invocations::InvocationChanged;
use tollgate_core::tasks::State;

const TYPES: &str = "/api/apps/user-management/event-types/";
const EXECUTE: &str = "/api/apps/user-management/functions/ask/execute/";

async fn app() -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Ask").await;
    (app, root)
}

async fn declare(app: &TestApp, root: &str, path: &str, name: &str, schema: Value, sample: Value) {
    let body = json!({"name": name, "params_schema": schema, "sample": sample});
    app.post(path, &body).bearer(root).send().await.ok();
}

async fn order(app: &TestApp, root: &str) {
    let schema = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string"}, "total": {"type": "number"}}});
    declare(
        app,
        root,
        TYPES,
        "POST_ORDER_PLACED",
        schema,
        json!({"id": "o-1"}),
    )
    .await;
}

/// Waits until a run is in this state.
async fn until(changes: &mut Receiver<InvocationChanged>, id: i64, state: State) {
    loop {
        let change = changes.recv().await.unwrap();
        if change.id.0 == id && change.state == state {
            return;
        }
    }
}

/// What is on record of a run.
async fn record(app: &TestApp, root: &str, id: i64) -> Value {
    let path = format!("/api/invocations/{id}/");
    app.get(&path).bearer(root).send().await.ok()
}

/// What the function `ask` is answered.
async fn publish(app: &TestApp, token: &str, name: &str, params: Value) -> Result<Value, String> {
    let args = json!({"name": name, "params": params});
    let body = json!({"params": {"method": "events.publish", "args": args}});
    let answer = app.post(EXECUTE, &body).bearer(token).send().await;
    match answer.status {
        200 => Ok(answer.body["data"].clone()),
        _ => Err(answer.is_error(400, "FUNCTION_FAILED").to_owned()),
    }
}

#[tokio::test]
async fn a_published_event_runs_its_subscribers_with_its_chain() {
    let (app, root) = app().await;
    order(&app, &root).await;
    let function = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "POST_ORDER_PLACED", function).await;
    let mut changes = app.platform.invocations.watch();
    let said = publish(&app, &root, "POST_ORDER_PLACED", json!({"id": "o-7"}))
        .await
        .unwrap();
    assert_eq!(
        (&said["status"], &said["message"]),
        (&json!("success"), &json!("Event published successfully"))
    );
    let data = &said["data"];
    assert_eq!(
        (&data["event"], &data["total_subscribers"]),
        (&json!("POST_ORDER_PLACED"), &json!(1))
    );
    let task = &data["task_ids"][0];
    assert_eq!(
        (&task["function_id"], &task["function_name"]),
        (&json!(function), &json!("Validate User Data"))
    );
    let id = task["invocation_id"].as_i64().unwrap();
    until(&mut changes, id, State::Succeeded).await;
    let run = record(&app, &root, id).await;
    for (field, value) in [
        ("trigger_type", json!("event")),
        ("event", json!("POST_ORDER_PLACED")),
        ("task_id", task["task_id"].clone()),
        ("user_username", json!("root")),
    ] {
        assert_eq!(run[field], value, "{field}: {run}");
    }
    assert!(run["event_id"].is_string(), "{run}");
    assert_eq!(run["task_result"]["task_args"], json!({"id": "o-7"}));
    let explain = json!({"caused_by": id});
    let path = "/api/cloud/events/POST_ORDER_PLACED/explain/";
    let explained = app.post(path, &explain).bearer(&root).send().await.ok();
    assert_eq!(explained["data"]["subscriptions"][0]["reason"], "chain");
    let nobody = publish(
        &app,
        &root,
        "POST_ORDER_PLACED",
        json!({"id": "x", "total": 1}),
    )
    .await;
    assert_eq!(nobody.unwrap()["data"]["total_subscribers"], 1);
}

#[tokio::test]
async fn what_is_not_the_apps_own_or_does_not_fit_is_refused() {
    let (app, root) = app().await;
    order(&app, &root).await;
    app.post("/api/apps/", &json!({"name": "Other"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let any = json!({"type": "object"});
    declare(
        &app,
        &root,
        "/api/apps/other/event-types/",
        "POST_THEIRS",
        any,
        json!({}),
    )
    .await;
    for (name, words) in [
        (
            "POST_THEIRS",
            "FORBIDDEN 'POST_THEIRS' is an event type of app 'other'",
        ),
        (
            "POST_USER_CREATE",
            "FORBIDDEN 'POST_USER_CREATE' is the platform's",
        ),
        (
            "PRE_USER_CREATE",
            "FORBIDDEN 'PRE_USER_CREATE' is the platform's",
        ),
        (
            "PRE_ORDER_PLACE",
            "BAD_REQUEST A function cannot publish 'PRE_ORDER_PLACE': a PRE event",
        ),
        (
            "POST_NONE",
            "BAD_REQUEST App 'user-management' has not declared the event type 'POST_NONE'; it \
          has declared: POST_ORDER_PLACED",
        ),
        ("", "BAD_REQUEST App 'user-management' has not declared"),
    ] {
        let error = publish(&app, &root, name, json!({"id": "o-1"}))
            .await
            .unwrap_err();
        assert!(error.starts_with(words), "{name}: {error}");
    }
    let error = publish(&app, &root, "POST_ORDER_PLACED", json!({"total": "much"})).await;
    let error = error.unwrap_err();
    assert!(error.starts_with("VALIDATION_ERROR "), "{error}");
    assert!(
        error.contains("params.total: ") && error.contains("params: "),
        "{error}"
    );
    assert!(!error.contains("much"), "{error}");
    let error = publish(&app, &root, "POST_ORDER_PLACED", json!([1]))
        .await
        .unwrap_err();
    assert!(error.contains("params: Use an object"), "{error}");
    let large = json!({"id": "x".repeat(64 * 1024)});
    let error = publish(&app, &root, "POST_ORDER_PLACED", large)
        .await
        .unwrap_err();
    assert!(error.contains("params: Use at most 64 KiB"), "{error}");
}

#[tokio::test]
async fn what_is_changed_counts_from_the_next_publication_on() {
    let (app, root) = app().await;
    order(&app, &root).await;
    publish(&app, &root, "POST_ORDER_PLACED", json!({"id": "o-1"}))
        .await
        .unwrap();
    let path = format!("{TYPES}POST_ORDER_PLACED/");
    let schema = json!({"type": "object", "required": ["id", "by"], "properties": {"by": {"type": "string"}}});
    let body = json!({"params_schema": schema, "sample": {"id": 1, "by": "x"}});
    app.ask("PATCH", &path)
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let error = publish(&app, &root, "POST_ORDER_PLACED", json!({"id": "o-1"}))
        .await
        .unwrap_err();
    assert!(error.contains("by"), "{error}");
    let function = app.function(&root, "Check Email Domain").await;
    let filter = json!({"function_id": function, "filter": "event.params.by == 'ann'"});
    let subscribe = app.post("/api/cloud/events/POST_ORDER_PLACED/subscribe/", &filter);
    subscribe.bearer(&root).send().await.ok();
    for (by, runs) in [("bob", 0), ("ann", 1)] {
        let params = json!({"id": 1, "by": by});
        let said = publish(&app, &root, "POST_ORDER_PLACED", params)
            .await
            .unwrap();
        assert_eq!(said["data"]["total_subscribers"], runs, "{by}");
    }
    // A sample that stays must fit the new schema.
    let body = json!({"params_schema": {"type": "object", "required": ["more"]}});
    let refused = app
        .ask("PATCH", &path)
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    refused.is_error(400, "VALIDATION_ERROR");
}

/// A public call by nobody, without a declared permission.
#[tokio::test]
async fn a_function_that_acts_for_nobody_publishes_as_well() {
    let (app, root) = app().await;
    order(&app, &root).await;
    let function = app.function(&root, "Check Email Domain").await;
    app.subscribe(&root, "POST_ORDER_PLACED", function).await;
    app.change(&root, "ask", &json!({"is_public": true}))
        .await
        .ok();
    let args = json!({"name": "POST_ORDER_PLACED", "params": {"id": "o-1"}});
    let body = json!({"params": {"method": "events.publish", "args": args}});
    let path = "/api/public/apps/user-management/functions/ask/execute/";
    let said = app.post(path, &body).send().await.ok();
    let task = &said["data"]["data"]["task_ids"][0];
    let id = task["invocation_id"].as_i64().unwrap();
    let run = record(&app, &root, id).await;
    assert_eq!(
        (&run["user_id"], &run["event"]),
        (&Value::Null, &json!("POST_ORDER_PLACED"))
    );
}

/// `ask` runs for the event and publishes it again: the second time is refused.
#[tokio::test]
async fn an_event_that_would_call_itself_for_ever_is_refused() {
    let (app, root) = app().await;
    declare(
        &app,
        &root,
        TYPES,
        "POST_LOOP",
        json!({"type": "object"}),
        json!({}),
    )
    .await;
    app.subscribe(&root, "POST_LOOP", 1).await;
    let again = json!({"method": "events.publish", "args": {"name": "POST_LOOP"}});
    let mut changes = app.platform.invocations.watch();
    let once = json!({"max_attempts": 1});
    app.change(&root, "ask", &once).await.ok();
    let said = publish(&app, &root, "POST_LOOP", again).await.unwrap();
    let id = said["data"]["task_ids"][0]["invocation_id"]
        .as_i64()
        .unwrap();
    until(&mut changes, id, State::Dead).await;
    let run = record(&app, &root, id).await;
    let error = run["error"]["message"].as_str().unwrap();
    assert!(
        error.starts_with("BAD_REQUEST Function 'Ask' runs for POST_LOOP"),
        "{error}"
    );
    assert!(error.contains("for ever"), "{error}");
    let list = app
        .get("/api/invocations/?event=POST_LOOP")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(list["total"], 1, "{list}");
}

/// Each event causes the next one, until the chain is as long as it may be.
#[tokio::test]
async fn a_chain_of_events_ends() {
    let (app, root) = app().await;
    app.change(&root, "ask", &json!({"max_attempts": 1}))
        .await
        .ok();
    for n in 0..10 {
        let name = format!("POST_STEP_{n}");
        declare(
            &app,
            &root,
            TYPES,
            &name,
            json!({"type": "object"}),
            json!({}),
        )
        .await;
        app.subscribe(&root, &name, 1).await;
    }
    let mut params = json!({"method": "auth.get_current_user", "args": {}});
    for n in (1..10).rev() {
        let args = json!({"name": format!("POST_STEP_{n}"), "params": params});
        params = json!({"method": "events.publish", "args": args});
    }
    let mut changes = app.platform.invocations.watch();
    publish(&app, &root, "POST_STEP_0", params).await.unwrap();
    let dead = loop {
        let change = changes.recv().await.unwrap();
        if change.state == State::Dead {
            break change.id.0;
        }
    };
    let run = record(&app, &root, dead).await;
    let error = run["error"]["message"].as_str().unwrap();
    assert!(error.contains("chain of 8 functions"), "{error}");
    assert_eq!(run["event"], "POST_STEP_6", "{run}");
}
