//! Own event types through the real program: a Python function publishes, another one runs; what was published
//! survives a kill.

use crate::support::code::until_exists;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use serde_json::{Value, json};
use std::sync::Arc;

const GUIDE: &str = include_str!("../../../../docs/guide/own-events.md");

/// The part of the guide after the `nth` of these marks, up to an end.
fn part(mark: &str, nth: usize, end: &str) -> &'static str {
    let rest = GUIDE.split(mark).nth(nth).unwrap();
    rest.split(end).next().unwrap()
}

/// Publishes what it is given, and returns what it is answered or told.
const PUBLISHER: &str = "\
def main(params, user_data, sdk_client):
    try:
        return sdk_client.events.publish(params['name'], params.get('order'))
    except sdk_client.PlatformError as error:
        return {'refused': error.code, 'status': error.status, 'message': error.message}
";

/// Says what it was told of the event.
const RECEIVER: &str = "\
def main(params, user_data):
    told = params['__function__']
    return {'order': params['id'], 'total': params['total'], 'event': told['event'], 'id': told['event_id'],
            'user': user_data and user_data['username']}
";

async fn shop(server: &Server, receiver: &str) {
    let api = &server.api;
    api.app("shop").await;
    api.app("mail").await;
    let declared = json!({
        "name": "POST_ORDER_PLACED",
        "params_schema": {"type": "object", "required": ["id", "total"], "properties": {
            "id": {"type": "string"}, "total": {"type": "number", "minimum": 0}}},
        "sample": {"id": "o-1", "total": 1},
    });
    api.post("/api/apps/shop/event-types/", &declared)
        .await
        .ok();
    api.function("shop", "checkout", PUBLISHER, &json!({}))
        .await;
    let id = api.function("mail", "receipt", receiver, &json!({})).await;
    api.subscribe("POST_ORDER_PLACED", id).await;
}

async fn publish(server: &Server, params: &Value) -> Value {
    let said = server
        .api
        .execute("shop", "checkout", &json!({"params": params}))
        .await;
    said.ok()["data"].clone()
}

#[tokio::test]
async fn a_python_function_publishes_to_another_one() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    shop(&server, RECEIVER).await;
    let mut watch = Watch::open(&server.api).await;
    let order = json!({"id": "o-7", "total": 12.5});
    let said = publish(
        &server,
        &json!({"name": "POST_ORDER_PLACED", "order": order}),
    )
    .await;
    assert_eq!(said["status"], "success", "{said}");
    assert_eq!(said["data"]["event"], "POST_ORDER_PLACED", "{said}");
    let task = &said["data"]["task_ids"][0];
    let run = watch.ended(task["invocation_id"].as_i64().unwrap()).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    assert_eq!(
        (&run["trigger_type"], &run["task_id"]),
        (&json!("event"), &task["task_id"])
    );
    let result = &run["task_result"]["result"];
    assert_eq!(
        (&result["order"], &result["total"]),
        (&json!("o-7"), &json!(12.5))
    );
    assert_eq!(
        (&result["event"], &result["id"]),
        (&json!("POST_ORDER_PLACED"), &run["event_id"])
    );

    let wrong = json!({"name": "POST_ORDER_PLACED", "order": {"total": -1}});
    let said = publish(&server, &wrong).await;
    assert_eq!(
        (&said["refused"], &said["status"]),
        (&json!("VALIDATION_ERROR"), &json!(400))
    );
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("params.total") && message.contains("id"),
        "{message}"
    );
    let said = publish(&server, &json!({"name": "POST_USER_CREATE"})).await;
    assert_eq!(said["refused"], "FORBIDDEN", "{said}");
    server.stop().await;
}

#[tokio::test]
async fn what_was_published_survives_the_kill() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    shop(&server, &until_exists(&folder.path().join("go"))).await;
    let order = json!({"id": "o-7", "total": 1});
    let said = publish(
        &server,
        &json!({"name": "POST_ORDER_PLACED", "order": order}),
    )
    .await;
    // It has been answered, so that it is on disk.
    let task = said["data"]["task_ids"][0].clone();
    server.kill().await;

    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    let mut watch = Watch::open(&server.api).await;
    let run = watch.ended(task["invocation_id"].as_i64().unwrap()).await;
    assert_eq!(
        (&run["state"], &run["task_id"]),
        (&json!("succeeded"), &task["task_id"]),
        "{run}"
    );
    assert_eq!(run["event"], "POST_ORDER_PLACED");
    server.stop().await;
}

#[tokio::test]
async fn the_guides_example_does_what_the_guide_says() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    let api = &server.api;
    api.app("shop").await;
    api.app("mail").await;
    let declared: Value = serde_json::from_str(part("-d '", 1, "'\n")).unwrap();
    api.post("/api/apps/shop/event-types/", &declared)
        .await
        .ok();
    let publisher = part("```python\n", 1, "```");
    api.function("shop", "checkout", publisher, &json!({}))
        .await;
    let receiver = part("```python\n", 2, "```");
    let id = api.function("mail", "receipt", receiver, &json!({})).await;
    let mut subscription: Value = serde_json::from_str(part("-d '", 2, "'\n")).unwrap();
    subscription["function_id"] = json!(id);
    api.post(
        "/api/cloud/events/POST_ORDER_PLACED/subscribe/",
        &subscription,
    )
    .await
    .ok();
    for (total, subscribers) in [(99, 0), (101, 1)] {
        let said = publish(&server, &json!({"id": "o-7", "total": total})).await;
        assert_eq!(said["subscribers"], subscribers, "{said}");
    }
    server.stop().await;
}
