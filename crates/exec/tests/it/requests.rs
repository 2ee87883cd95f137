//! What is known of a request stays with a run: through the database, a restart, and the hands of others.

use crate::world::{World, priority, returns};
use serde_json::json;
use std::sync::Arc;
use tollgate_core::invocations::VersionChoice;
use tollgate_core::json::JsonText;
use tollgate_core::request::RequestInfo;
use tollgate_core::subscribers::SubscriberOptions;
use tollgate_core::tasks::{FailureKind, State};
use tollgate_core::users::events::POST_USER_CREATE;
use tollgate_testkit::fake_runtime::Behaviour;

/// The request by which the admin of a world acts.
fn request(user_agent: &str) -> RequestInfo {
    RequestInfo {
        user_agent: Some(user_agent.to_owned()),
        ..RequestInfo::sample()
    }
}

fn by(world: &mut World, user_agent: &str) {
    let admin = world.admin.clone();
    world.admin = admin.by_request(Arc::new(request(user_agent)));
}

/// What the functions were told, in the order of their calls.
fn told(world: &World) -> Vec<Option<JsonText>> {
    let calls = world.runtime.calls_in_full().into_iter();
    calls.map(|call| call.request).collect()
}

#[tokio::test]
async fn a_run_that_is_claimed_after_a_restart_is_told_of_its_request() {
    // Nothing works in the first process: its queue is never looked at.
    let mut world = World::idle().await;
    world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    by(&mut world, "first");
    world.create("ann").await.unwrap();
    let mut world = world.restart().await;
    by(&mut world, "second");
    world.start().await;
    world.until(State::Succeeded, 1).await;
    let expected = request("first").written();
    assert!(expected.is_some());
    assert_eq!(told(&world), std::slice::from_ref(&expected));
    assert_eq!(world.invocations().await[0].request, expected);
}

#[tokio::test]
async fn retries_and_a_redrive_are_told_of_the_first_request() {
    let mut world = World::new().await;
    let once = SubscriberOptions {
        max_attempts: Some(1),
        ..priority(0)
    };
    let fails = Behaviour::Fail(FailureKind::Exception);
    world
        .subscribe("after", POST_USER_CREATE, fails, once)
        .await;
    by(&mut world, "first");
    world.create("ann").await.unwrap();
    world.until(State::Dead, 1).await;
    let dead = world.invocations().await.remove(0);
    world.runtime.on("after", returns(json!({})));
    by(&mut world, "second");
    let letters = &world.platform.dead_letters;
    letters
        .redrive(&world.admin, dead.id, VersionChoice::Active)
        .await
        .unwrap();
    world.until(State::Succeeded, 1).await;
    let expected = request("first").written();
    assert_eq!(told(&world), [expected.clone(), expected.clone()]);
    assert_eq!(world.invocations().await[0].request, expected);
}

#[tokio::test]
async fn what_the_program_causes_has_none() {
    let world = World::new().await;
    world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.until(State::Succeeded, 1).await;
    assert_eq!(told(&world), [None]);
}
