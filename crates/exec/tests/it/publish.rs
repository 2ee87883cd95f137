//! `publish_event` answers in the API document's two shapes.

use crate::world::{World, priority, returns};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tollgate_core::error::Error;
use tollgate_core::events::{Event, EventType, LifecycleEvent};
use tollgate_core::tasks::State;
use tollgate_core::users::ProposedUser;
use tollgate_core::users::events::{
    POST_USER_CREATE, PRE_USER_CREATE, UserCreateProposal, UserCreated,
};

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
            .subscribe(name, PRE_USER_CREATE, returns(json!({})), priority(0))
            .await;
    }
    let sample = UserCreateProposal::sample();
    let (event, proposed) = (Event::of(sample.clone()), ProposedUser::new(sample.0));
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
    assert!(published.stage.unwrap().decide(proposed).await.is_ok());
}

#[tokio::test]
async fn a_post_event_is_on_disk_when_publishing_returns() {
    let world = World::idle().await;
    let after = returns(json!({}));
    world
        .subscribe("after", POST_USER_CREATE, after, priority(0))
        .await;
    let event = Event::of(UserCreated::sample());
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
        .subscribe(name, PRE_USER_CREATE, returns(json!({})), priority(0))
        .await;
    world.executor.stop(Duration::ZERO).await.unwrap();
    let event = Event::of(UserCreateProposal::sample());
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

tollgate_core::event_types! { POST_NOBODYS_ORDER }

/// Parameters that cannot be written, of an event that this program registers or of one that it does not.
#[derive(Deserialize, schemars::JsonSchema)]
struct Unwritable<const REGISTERED: bool>;

impl<const REGISTERED: bool> serde::Serialize for Unwritable<REGISTERED> {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it has no JSON"))
    }
}

impl<const REGISTERED: bool> LifecycleEvent for Unwritable<REGISTERED> {
    const TYPE: EventType = match REGISTERED {
        true => POST_USER_CREATE,
        false => POST_NOBODYS_ORDER,
    };

    fn sample() -> Self {
        Self
    }
}

#[tokio::test]
async fn parameters_are_written_for_subscribers_only_and_of_registered_types_only() {
    let world = World::idle().await;
    let (events, admin) = (&world.platform.events, &world.admin);
    let event = Event::of(Unwritable::<true>);
    let published = events.publish_event(&event, admin).await.unwrap();
    assert_eq!(
        shown(&published.response)["data"]["total_subscribers"],
        json!(0)
    );
    world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    let unregistered = Event::of(Unwritable::<false>);
    for (event, part) in [
        (event, "the parameters of POST_USER_CREATE have no JSON"),
        (
            unregistered,
            "POST_NOBODYS_ORDER is published and not registered",
        ),
    ] {
        match events.publish_event(&event, admin).await {
            Err(error @ (Error::Internal(_) | Error::Failed { .. })) => {
                let reason = error.to_string();
                assert!(reason.contains(part), "{reason}");
                let has_source = std::error::Error::source(&error).is_some();
                assert_eq!(has_source, matches!(error, Error::Failed { .. }));
            }
            other => panic!("{:?}", other.map(|it| shown(&it.response))),
        }
    }
    assert!(world.states().await.is_empty());
}
