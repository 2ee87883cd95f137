//! A queue without room for what follows refuses an operation before any function is asked; what was agreed and is
//! not saved is on record.

use crate::world::{World, priority, returns};
use serde_json::json;
use std::sync::Arc;
use tollgate_core::auth::{Password, SignIn};
use tollgate_core::engine::Settings;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::request::RequestInfo;
use tollgate_core::users::UpdateUser;
use tollgate_core::users::events::{POST_USER_CREATE, POST_USER_CREATE_DENIED, PRE_USER_CREATE};
use tollgate_exec::ExecutorConfig;

/// A world that does not work yet and has room for one waiting run only, which is taken; `before` and `after` are
/// subscribed.
async fn full(before: EventType, after: EventType) -> World {
    let settings = Settings {
        queue_per_site: 1,
        ..Settings::default()
    };
    let config = ExecutorConfig {
        in_memory: 0,
        ..ExecutorConfig::default()
    };
    let world = World::with(settings, config).await;
    world
        .subscribe("filler", POST_USER_CREATE, returns(json!(1)), priority(0))
        .await;
    world.create("first").await.unwrap();
    let subscribers = &world.platform.subscribers;
    let filler = world.invocations().await[0].function_id;
    subscribers
        .unsubscribe(&world.admin, POST_USER_CREATE, filler, None)
        .await
        .unwrap();
    for (name, event) in [("before", before), ("after", after)] {
        world
            .subscribe(name, event, returns(json!(1)), priority(0))
            .await;
    }
    world
}

#[track_caller]
fn is_full<T>(outcome: Result<T, Error>) {
    match outcome {
        Err(Error::QueueFull { most: 1, .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn a_creation_needs_room_for_the_news_of_its_refusal() {
    let world = full(PRE_USER_CREATE, POST_USER_CREATE_DENIED).await;
    is_full(world.create("ann").await);
    assert!(world.runtime.calls().is_empty(), "no function was asked");
    assert!(world.find("ann").await.is_none());
}

#[tokio::test]
async fn nothing_is_refused_for_news_of_a_refusal_that_cannot_come() {
    // Nobody is asked about creations.
    let other = tollgate_core::users::events::PRE_USER_DELETE;
    let world = full(other, POST_USER_CREATE_DENIED).await;
    world.create("ann").await.unwrap();
}

/// The second stage of an update: what follows from it is looked at before the first one.
#[tokio::test]
async fn a_new_password_needs_room_before_the_first_of_both_stages() {
    use tollgate_core::users::events::PRE_USER_UPDATE;
    use tollgate_core::users::password::{
        POST_PASSWORD_CHANGE, POST_PASSWORD_CHANGE_DENIED, PRE_PASSWORD_CHANGE,
    };
    let update = |password: bool| UpdateUser {
        last_name: Some("Q".to_owned()),
        password: password.then(|| Password::new("another good horse")),
        ..UpdateUser::default()
    };
    for (before, after) in [
        (PRE_USER_UPDATE, POST_PASSWORD_CHANGE),
        (PRE_PASSWORD_CHANGE, POST_PASSWORD_CHANGE_DENIED),
    ] {
        let world = full(before, after).await;
        world
            .subscribe("first", PRE_USER_UPDATE, returns(json!(1)), priority(0))
            .await;
        let users = &world.platform.users;
        let refused = users.update(&world.admin, "first", update(true).into());
        is_full(refused.await);
        assert!(world.runtime.calls().is_empty(), "{before}");
        let without = users.update(&world.admin, "first", update(false).into());
        without.await.unwrap();
    }
}

#[tokio::test]
async fn a_sign_in_needs_room_for_what_follows_it() {
    use tollgate_core::auth::events::{POST_LOGIN, POST_LOGIN_FAILED, PRE_LOGIN};
    let sign_in = |password: &str| SignIn {
        login: "admin@example.com",
        password: Password::new(password),
        address: None,
        request: Arc::new(RequestInfo::sample()),
    };
    let world = full(PRE_LOGIN, POST_LOGIN).await;
    let site = world.platform.auth.sites().site("localhost").await.unwrap();
    let auth = &world.platform.auth;
    is_full(auth.sign_in(&site, sign_in("correct horse")).await);
    assert!(world.runtime.calls().is_empty());
    // A wrong password is a wrong password, whether there is room to tell of it or not.
    let world = full(PRE_LOGIN, POST_LOGIN_FAILED).await;
    let auth = &world.platform.auth;
    let wrong = auth.sign_in(&site, sign_in("wrong horse")).await;
    assert!(matches!(wrong, Err(Error::Unauthenticated(_))));
    auth.sign_in(&site, sign_in("correct horse")).await.unwrap();
    assert_eq!(world.runtime.calls(), ["before"]);
}
