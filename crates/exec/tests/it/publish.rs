//! `publish_event` answers in the API document's two shapes.

use crate::world::{World, priority, returns};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate_core::event::EventType;
use tollgate_core::registry;
use tollgate_core::task::State;

/// The answer, with what differs from run to run replaced.
fn shown(response: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(response).unwrap();
    for task in value
        .pointer_mut("/data/task_ids")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        assert!(task["task_id"].as_str().is_some_and(|id| id.len() == 36));
        task["task_id"] = json!("task-uuid");
    }
    value
}

#[tokio::test]
async fn publishing_gives_task_ids_at_once_and_waiting_is_separate() {
    let world = World::new().await;
    for name in ["Validate User Data", "Check Email Domain"] {
        world
            .subscribe(
                name,
                EventType::PreUserCreate,
                returns(json!({})),
                priority(0),
            )
            .await;
    }
    let event = registry::spec(EventType::PreUserCreate).sample_event();
    let registry::Event::PreUserCreate(profile) = event.clone() else {
        panic!()
    };
    let published = world
        .platform
        .events
        .publish_event(&event, &world.admin)
        .await
        .unwrap();
    assert_eq!(
        shown(&published.response),
        json!({
            "status": "success",
            "message": "Event published successfully",
            "data": {
                "event": "PRE_USER_CREATE",
                "task_ids": [
                    {"function_id": 1, "function_name": "Validate User Data",
                     "task_id": "task-uuid", "invocation_id": 1},
                    {"function_id": 2, "function_name": "Check Email Domain",
                     "task_id": "task-uuid", "invocation_id": 2},
                ],
                "total_subscribers": 2,
            },
        })
    );
    assert!(published.stage.unwrap().decide(profile, None).await.is_ok());
}

#[tokio::test]
async fn a_post_event_is_on_disk_when_publishing_returns() {
    let world = World::idle().await;
    let after = returns(json!({}));
    world
        .subscribe("after", EventType::PostUserCreate, after, priority(0))
        .await;
    let event = registry::spec(EventType::PostUserCreate).sample_event();
    let published = world
        .platform
        .events
        .publish_event(&event, &world.admin)
        .await
        .unwrap();
    assert!(published.stage.is_none());
    assert_eq!(world.states().await, [("after".to_owned(), State::Pending)]);
}

#[tokio::test]
async fn a_function_that_cannot_be_queued_is_an_execution_error() {
    let world = World::new().await;
    let name = "Failed Function";
    world
        .subscribe(
            name,
            EventType::PreUserCreate,
            returns(json!({})),
            priority(0),
        )
        .await;
    world.executor.stop(Duration::ZERO).await.unwrap();
    let event = registry::spec(EventType::PreUserCreate).sample_event();
    let published = world
        .platform
        .events
        .publish_event(&event, &world.admin)
        .await
        .unwrap();
    assert_eq!(
        shown(&published.response),
        json!({
            "status": "error",
            "code": "EXECUTION_ERROR",
            "message": "Function execution failed",
            "data": {
                "function_id": 1, "function_name": "Failed Function",
                "status": "error", "task_id": null,
            },
        })
    );
    // And the operation that asked is refused: PRE fails closed.
    assert!(world.create("ann").await.is_err());
    assert!(world.find("ann").await.is_none());
}
