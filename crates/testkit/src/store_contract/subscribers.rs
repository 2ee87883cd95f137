//! Subscribers.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::world::{assert_conflict, code};
use tollgate_core::events::EventType;
use tollgate_core::functions::Function;
use tollgate_core::ids::{AppId, FunctionId};
use tollgate_core::ports::store::{Conflict, FunctionChange, NewSubscriber, StoreError};
use tollgate_core::subscribers::{Inactive, OnTimeout, SubscriberOptions};
use tollgate_core::users::events::{
    POST_USER_CREATE, POST_USER_DELETE, PRE_USER_CREATE, PRE_USER_DELETE,
};

const EVENT: EventType = PRE_USER_CREATE;

fn options() -> SubscriberOptions {
    SubscriberOptions {
        priority: -7,
        filter: Some("user.is_staff".to_owned()),
        timeout_seconds: Some(1.5),
        on_timeout: OnTimeout::Allow,
        max_attempts: Some(4),
    }
}

/// Once per event type, and only functions that exist.
pub async fn a_function_subscribes_once_to_each_event(world: World) {
    let function = world.a.some_function().await;
    let new = NewSubscriber {
        author: None,
        event: EVENT,
        declared_by: None,
        function_id: function.id,
        options: options(),
        created_at: world.now(),
        remember: None,
    };
    let store = &world.a.store;
    let stored = store.insert_subscriber(new.clone()).await.unwrap();
    assert_eq!((stored.event, stored.function_id), (EVENT, function.id));
    assert_eq!(
        (&stored.function_slug, &stored.app_slug),
        (&function.slug, &function.app_slug)
    );
    assert_eq!(
        (&stored.options, stored.created_at),
        (&options(), world.now())
    );
    assert_conflict!(store.insert_subscriber(new.clone()).await, Subscription);
    let other = NewSubscriber {
        event: POST_USER_CREATE,
        ..new.clone()
    };
    store.insert_subscriber(other).await.unwrap();
    let nowhere = NewSubscriber {
        function_id: FunctionId(999_999),
        ..new
    };
    assert_conflict!(store.insert_subscriber(nowhere).await, Gone);

    assert_eq!(
        store.subscriber(EVENT, function.id).await.unwrap(),
        Some(stored.clone())
    );
    let of_app = store
        .list_subscribers(EVENT, Some(function.app_id))
        .await
        .unwrap();
    assert_eq!(of_app, [stored]);
    let of_none = store
        .list_subscribers(EVENT, Some(AppId(999_999)))
        .await
        .unwrap();
    assert_eq!(of_none, []);
    assert!(
        store
            .delete_subscriber(EVENT, function.id, None)
            .await
            .unwrap()
    );
    assert!(
        !store
            .delete_subscriber(EVENT, function.id, None)
            .await
            .unwrap()
    );
    assert_eq!(store.subscriber(EVENT, function.id).await.unwrap(), None);
}

/// 200 at once: the rule holds without anybody looking first.
pub async fn of_many_equal_subscriptions_one_is_stored(world: World) {
    let function = world.a.some_function().await;
    let tries = (0..200).map(|_| world.a.subscribe(EVENT, &function, 0));
    let results = futures_util::future::join_all(tries).await;
    let (stored, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (1, 199));
    for result in refused {
        let Err(StoreError::Conflict(Conflict::Subscription)) = result else {
            panic!("{result:?}");
        };
    }
}

/// Lower priority first, then the older subscription; lists go by number.
pub async fn subscriptions_run_by_priority_then_id(world: World) {
    let app = world.a.app("crm").await;
    let mut expected = Vec::new();
    let mut listed = Vec::new();
    for (slug, priority, place) in [
        ("a", 5, 3),
        ("b", 0, 1),
        ("c", 5, 4),
        ("d", -1, 0),
        ("e", 0, 2),
    ] {
        let function = world.a.function(app.id, slug).await;
        let subscriber = world.a.subscribe(EVENT, &function, priority).await.unwrap();
        listed.push(subscriber.id);
        expected.push((place, subscriber.id, function.id));
    }
    expected.sort_unstable();
    let subscriptions = world.a.store.subscriptions(EVENT).await.unwrap();
    let found: Vec<_> = subscriptions
        .iter()
        .map(|s| (s.id, s.executable.function_id))
        .collect();
    assert_eq!(
        found,
        expected.iter().map(|e| (e.1, e.2)).collect::<Vec<_>>()
    );
    let all = world.a.store.list_subscribers(EVENT, None).await.unwrap();
    assert_eq!(all.iter().map(|s| s.id).collect::<Vec<_>>(), listed);
    assert!(
        world
            .a
            .store
            .subscriptions(POST_USER_DELETE)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Switching a function off keeps its subscriptions for later.
pub async fn inactive_functions_are_subscribed_but_not_run(world: World) {
    let function = world.a.some_function().await;
    world.a.subscribe(EVENT, &function, 0).await.unwrap();
    for is_active in [false, true] {
        let function = Function {
            is_active,
            ..function.clone()
        };
        let change = FunctionChange {
            author: None,
            declares: false,
            function,
            version: None,
            at: world.now(),
        };
        world.a.store.update_function(change).await.unwrap();
        let subscriptions = world.a.store.subscriptions(EVENT).await.unwrap();
        assert_eq!(subscriptions.len(), usize::from(is_active));
        assert_eq!(
            world
                .a
                .store
                .list_subscribers(EVENT, None)
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

/// The whole set of options is replaced.
pub async fn options_can_be_changed(world: World) {
    let function = world.a.some_function().await;
    let stored = world.a.subscribe(EVENT, &function, 0).await.unwrap();
    let at = world.in_seconds(3);
    let changed = world
        .a
        .store
        .update_subscriber(EVENT, function.id, options(), None, at, None)
        .await
        .unwrap();
    let changed = changed.unwrap();
    assert_eq!(
        (changed.id, &changed.options, changed.updated_at),
        (stored.id, &options(), at)
    );
    assert_eq!(
        world.a.store.subscriptions(EVENT).await.unwrap()[0].options,
        options()
    );
    let other = PRE_USER_DELETE;
    let none = world
        .a
        .store
        .update_subscriber(other, function.id, options(), None, at, None)
        .await
        .unwrap();
    assert_eq!(none, None);
}

/// A POST one whose webhook is gone is passed over until somebody switches it on again.
pub async fn a_subscription_is_switched_off_and_on(world: World) {
    const POST: EventType = POST_USER_CREATE;
    let function = world.a.some_function().await;
    let stored = world.a.subscribe(POST, &function, 0).await.unwrap();
    assert_eq!(stored.inactive, None);
    let (site, at) = (world.a.site.id, world.in_seconds(3));
    let gone = |site, version| {
        let system = &world.system;
        system.subscription_gone(site, POST, function.id, version, at)
    };
    let store = &world.a.store;
    assert!(!gone(world.b.site.id, 1).await.unwrap(), "another site's");
    assert!(!gone(site, 2).await.unwrap(), "another version's webhook");
    assert_eq!(store.subscriptions(POST).await.unwrap().len(), 1);
    assert!(gone(site, 1).await.unwrap());
    assert!(!gone(site, 1).await.unwrap(), "off already");
    assert!(store.subscriptions(POST).await.unwrap().is_empty());
    let found = store.subscriber(POST, function.id).await.unwrap().unwrap();
    assert_eq!(
        (found.inactive, found.updated_at),
        (Some(Inactive::Gone), at)
    );
    for (is_active, inactive) in [
        (None, Some(Inactive::Gone)),
        (Some(true), None),
        (None, None),
        (Some(false), Some(Inactive::SwitchedOff)),
    ] {
        let changed = store.update_subscriber(POST, function.id, options(), is_active, at, None);
        assert_eq!(changed.await.unwrap().unwrap().inactive, inactive);
        let runs = store.subscriptions(POST).await.unwrap().len();
        assert_eq!(runs, usize::from(inactive.is_none()));
    }
}

/// A PRE one whose webhook is gone is closed: it runs no more and is not passed over, until somebody
/// switches it on or off, or another version is activated.
pub async fn a_pre_subscription_is_closed_until_a_person_acts(world: World) {
    const PRE: EventType = PRE_USER_CREATE;
    let function = world.a.some_function().await;
    world.a.subscribe(PRE, &function, 0).await.unwrap();
    let (site, at, store) = (world.a.site.id, world.in_seconds(3), &world.a.store);
    let second = store.insert_version(function.id, code("def main(): pass"), at);
    let second = second.await.unwrap().entry.number;
    let closed = async || {
        let found = store.subscriptions(PRE).await.unwrap();
        let shown = store.subscriber(PRE, function.id).await.unwrap().unwrap();
        let marked = shown.inactive == Some(Inactive::Gone);
        assert_eq!(marked, found.iter().any(|it| it.closed));
        found.first().map(|it| it.closed)
    };
    let gone = |version| {
        let system = &world.system;
        system.subscription_gone(site, PRE, function.id, version, at)
    };
    let patch =
        |is_active| store.update_subscriber(PRE, function.id, options(), is_active, at, None);
    assert_eq!(closed().await, Some(false));
    assert!(gone(1).await.unwrap());
    assert_eq!(closed().await, Some(true));
    patch(None).await.unwrap();
    assert_eq!(closed().await, Some(true), "its options were changed");
    patch(Some(true)).await.unwrap();
    assert_eq!(closed().await, Some(false), "it was switched on");
    assert!(gone(1).await.unwrap());
    patch(Some(false)).await.unwrap();
    assert_eq!(closed().await, None, "it was switched off");
    patch(Some(true)).await.unwrap();
    assert!(gone(1).await.unwrap());
    let activate = async |version| {
        let function = store.function_by_id(function.id).await.unwrap().unwrap();
        let version = Some(version);
        let change = FunctionChange {
            author: None,
            declares: false,
            function,
            version,
            at,
        };
        store.update_function(change).await.unwrap();
    };
    activate(1).await;
    assert_eq!(closed().await, Some(true), "it runs what it ran");
    activate(second).await;
    assert_eq!(closed().await, Some(false), "it has another webhook");
    assert!(!gone(1).await.unwrap(), "a late answer of the old one");
    assert!(gone(second).await.unwrap());
    assert!(
        store
            .delete_subscriber(PRE, function.id, None)
            .await
            .unwrap()
    );
    world.a.subscribe(PRE, &function, 0).await.unwrap();
    assert_eq!(closed().await, Some(false), "it was subscribed anew");
}

/// A deleted function is subscribed to nothing.
pub async fn subscriptions_end_with_their_function(world: World) {
    let function = world.a.some_function().await;
    world.a.subscribe(EVENT, &function, 0).await.unwrap();
    world
        .a
        .store
        .delete_function(function.id, world.now(), None)
        .await
        .unwrap();
    assert_eq!(
        world.a.store.subscriber(EVENT, function.id).await.unwrap(),
        None
    );
    assert!(world.a.store.subscriptions(EVENT).await.unwrap().is_empty());
    assert_conflict!(world.a.subscribe(EVENT, &function, 0).await, Gone);
}

/// What a type is belongs to the program of the day; the record outlives it.
pub async fn of_a_type_that_nobody_registers_one_is_read_listed_and_deleted(world: World) {
    let event = EventType::stored("PRE_NOBODYS_ORDER").unwrap();
    let function = world.a.some_function().await;
    let stored = world.a.subscribe(event, &function, 0).await.unwrap();
    assert_eq!(stored.event.as_str(), "PRE_NOBODYS_ORDER");
    let store = &world.a.store;
    let read = store.subscriber(event, function.id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&stored));
    let listed = store.list_subscribers(event, None).await.unwrap();
    assert_eq!(listed, [stored]);
    assert_eq!(store.subscriptions(event).await.unwrap().len(), 1);
    let deleted = store.delete_subscriber(event, function.id, None).await;
    assert!(deleted.unwrap());
    assert_eq!(store.list_subscribers(event, None).await.unwrap(), []);
}
