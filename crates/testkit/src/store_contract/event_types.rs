//! Event types that apps declare.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::assert_conflict;
use super::{World, everything};
use tollgate_core::events::own::OwnType;
use tollgate_core::functions::Function;
use tollgate_core::ids::AppId;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::store::{
    Conflict, NewOwnType, NewSubscriber, OwnTypeChange, PageRequest, StoreError,
};
use tollgate_core::subscribers::SubscriberOptions;
use tollgate_core::time::Timestamp;
use tollgate_core::users::events::PRE_USER_CREATE;

/// A type to be stored.
pub(super) fn new(now: Timestamp, app: AppId, name: &str) -> NewOwnType {
    let text = |json: &str| JsonText::parse(json.to_owned()).unwrap();
    NewOwnType {
        name: name.to_owned(),
        app,
        description: "for tests".to_owned(),
        params_schema: text(r#"{"type": "object", "maximum": 1.50}"#),
        sample: text(r#"{ "b":1.0,"a": 1e2}"#),
        created_at: now,
        remember: None,
    }
}

/// A subscription to a type.
fn subscription(world: &World, own: &OwnType, function: &Function) -> NewSubscriber {
    NewSubscriber {
        author: None,
        event: own.event,
        declared_by: Some(own.app),
        function_id: function.id,
        options: SubscriberOptions::default(),
        created_at: world.now(),
        remember: None,
    }
}

/// Stored as it came, read, changed, deleted, and free again.
pub async fn an_event_type_is_stored_and_changed(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let made = new(world.now(), app.id, "POST_DEAL_WON");
    let stored = store.insert_event_type(made.clone()).await.unwrap();
    assert_eq!(stored.event.as_str(), "POST_DEAL_WON");
    assert_eq!((stored.app, stored.app_slug.as_str()), (app.id, "crm"));
    assert_eq!(stored.params_schema.as_str(), made.params_schema.as_str());
    assert_eq!(stored.sample.as_str(), made.sample.as_str());
    assert_eq!(
        (stored.created_at, stored.total_subscribers),
        (world.now(), 0)
    );
    let found = store.event_type("POST_DEAL_WON").await.unwrap();
    assert_eq!(found, Some(stored.clone()));
    assert_eq!(store.event_type("POST_DEAL_LOST").await.unwrap(), None);
    assert_conflict!(store.insert_event_type(made.clone()).await, EventType);

    let changed = OwnTypeChange {
        own: OwnType {
            description: String::new(),
            sample: JsonText::parse("{}".to_owned()).unwrap(),
            ..stored.clone()
        },
        at: world.in_seconds(1),
    };
    let after = store.update_event_type(changed.clone()).await.unwrap();
    assert_eq!(
        (after.description.as_str(), after.updated_at),
        ("", changed.at)
    );
    assert_eq!(after.sample.as_str(), "{}");
    // It was read before that change.
    assert_conflict!(store.update_event_type(changed.clone()).await, Changed);

    let event = stored.event;
    let seen = Some(stored.updated_at);
    assert_conflict!(store.delete_event_type(app.id, event, seen).await, Changed);
    let other = world.a.app("other").await;
    assert!(
        !store
            .delete_event_type(other.id, event, None)
            .await
            .unwrap()
    );
    assert!(
        store
            .delete_event_type(app.id, event, Some(after.updated_at))
            .await
            .unwrap()
    );
    assert!(!store.delete_event_type(app.id, event, None).await.unwrap());
    assert_conflict!(store.update_event_type(changed).await, Gone);
    let again = new(world.now(), other.id, "POST_DEAL_WON");
    assert_eq!(store.insert_event_type(again).await.unwrap().app, other.id);
    let nowhere = new(world.now(), AppId(999_999), "POST_DEAL_LOST");
    assert_conflict!(store.insert_event_type(nowhere).await, Gone);
}

/// An app's by name, the site's by app and name.
pub async fn event_types_are_listed_by_app_and_name(world: World) {
    let (store, now) = (&world.a.store, world.now());
    let (shop, crm) = (world.a.app("shop").await, world.a.app("crm").await);
    for (app, name) in [
        (&shop, "POST_B"),
        (&shop, "POST_A"),
        (&crm, "POST_Z"),
        (&shop, "POST_C"),
    ] {
        store
            .insert_event_type(new(now, app.id, name))
            .await
            .unwrap();
    }
    let names: Vec<_> = store.event_type_names().await.unwrap();
    let names: Vec<_> = names.into_iter().map(|it| it.as_str()).collect();
    assert_eq!(names, ["POST_Z", "POST_A", "POST_B", "POST_C"]);
    let page = PageRequest {
        limit: 1,
        offset: 1,
    };
    let page = store.list_event_types(shop.id, page).await.unwrap();
    assert_eq!((page.total, page.items.len()), (3, 1));
    assert_eq!(page.items[0].event.as_str(), "POST_B");
    assert_eq!(
        store
            .list_event_types(crm.id, everything())
            .await
            .unwrap()
            .total,
        1
    );
}

/// A type stays while somebody is subscribed, and nobody subscribes to one that is gone.
pub async fn an_event_type_stays_while_functions_are_subscribed(world: World) {
    let store = &world.a.store;
    let function = world.a.some_function().await;
    let app = world.a.app("crm").await;
    let own = store
        .insert_event_type(new(world.now(), app.id, "POST_DEAL_WON"))
        .await
        .unwrap();
    store
        .insert_subscriber(subscription(&world, &own, &function))
        .await
        .unwrap();
    world
        .a
        .subscribe(PRE_USER_CREATE, &function, 0)
        .await
        .unwrap();
    let found = store.event_type("POST_DEAL_WON").await.unwrap().unwrap();
    assert_eq!(found.total_subscribers, 1);
    let refused = store
        .delete_event_type(app.id, own.event, None)
        .await
        .unwrap_err();
    let subscribed = StoreError::Conflict(Conflict::Subscribed(1));
    assert_eq!(refused.to_string(), subscribed.to_string());
    let mut counts = store.subscriber_counts(None).await.unwrap();
    counts.sort_unstable();
    assert_eq!(counts, [(own.event, 1), (PRE_USER_CREATE, 1)]);
    assert_eq!(store.subscriber_counts(Some(app.id)).await.unwrap(), []);
    let of_function = store
        .subscriber_counts(Some(function.app_id))
        .await
        .unwrap();
    assert_eq!(of_function.len(), 2);
    assert!(
        store
            .delete_subscriber(own.event, function.id, None)
            .await
            .unwrap()
    );
    assert!(
        store
            .delete_event_type(app.id, own.event, None)
            .await
            .unwrap()
    );
    let late = subscription(&world, &own, &function);
    assert_conflict!(store.insert_subscriber(late).await, NoEventType);
}

/// With an app go its types and whoever is subscribed to them, and nothing else.
pub async fn event_types_go_with_their_app(world: World) {
    let store = &world.a.store;
    let function = world.a.some_function().await;
    let (app, other) = (world.a.app("crm").await, world.a.app("shop").await);
    let gone = store
        .insert_event_type(new(world.now(), app.id, "POST_DEAL_WON"))
        .await
        .unwrap();
    let kept = store
        .insert_event_type(new(world.now(), other.id, "POST_SOLD"))
        .await
        .unwrap();
    for own in [&gone, &kept] {
        store
            .insert_subscriber(subscription(&world, own, &function))
            .await
            .unwrap();
    }
    world
        .a
        .subscribe(PRE_USER_CREATE, &function, 0)
        .await
        .unwrap();
    assert!(store.delete_app(app.id, world.now(), None).await.unwrap());
    assert_eq!(store.event_type("POST_DEAL_WON").await.unwrap(), None);
    assert_eq!(store.list_subscribers(gone.event, None).await.unwrap(), []);
    assert_eq!(
        store
            .list_subscribers(kept.event, None)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        store
            .list_subscribers(PRE_USER_CREATE, None)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(store.event_type_names().await.unwrap(), [kept.event]);
}

/// An app has so many types; a site so many names, those of deleted types included.
pub async fn event_types_and_their_names_are_bounded(world: World) {
    let (store, now) = (&world.a.store, world.now());
    let app = world.a.app("crm").await;
    let name = |n: usize| format!("POST_BOUND_{n}");
    for n in 0..limits::EVENT_TYPES_PER_APP {
        store
            .insert_event_type(new(now, app.id, &name(n)))
            .await
            .unwrap();
    }
    let more = new(now, app.id, "POST_BOUND_MORE");
    assert_conflict!(store.insert_event_type(more).await, EventTypes);
    let other = world.a.app("other").await;
    for n in limits::EVENT_TYPES_PER_APP..limits::EVENT_NAMES_PER_SITE {
        let own = store
            .insert_event_type(new(now, other.id, &name(n)))
            .await
            .unwrap();
        assert!(
            store
                .delete_event_type(other.id, own.event, None)
                .await
                .unwrap()
        );
    }
    let more = new(now, other.id, "POST_BOUND_MORE");
    assert_conflict!(store.insert_event_type(more).await, EventNames);
    assert_eq!(store.event_type("POST_BOUND_MORE").await.unwrap(), None);
    // What was declared before may be declared again, and another site has names of its own.
    let again = new(now, other.id, &name(limits::EVENT_NAMES_PER_SITE - 1));
    store.insert_event_type(again).await.unwrap();
    let theirs = world.b.app("crm").await;
    world
        .b
        .store
        .insert_event_type(new(now, theirs.id, &name(0)))
        .await
        .unwrap();
}

/// [`tollgate_core::ports::store::EventTypeStore`].
pub async fn event_types_of_another_site_are_out_of_reach(world: World) {
    let (a, b) = (&world.a.store, &world.b.store);
    let app = world.a.app("crm").await;
    let function = world.b.some_function().await;
    let own = a
        .insert_event_type(new(world.now(), app.id, "POST_DEAL_WON"))
        .await
        .unwrap();
    assert_eq!(b.event_type("POST_DEAL_WON").await.unwrap(), None);
    assert_eq!(b.event_type_names().await.unwrap(), []);
    assert_eq!(
        b.list_event_types(app.id, everything())
            .await
            .unwrap()
            .total,
        0
    );
    assert_eq!(b.subscriber_counts(None).await.unwrap(), []);
    let theirs = new(world.now(), app.id, "POST_DEAL_LOST");
    assert_conflict!(b.insert_event_type(theirs).await, Gone);
    let change = OwnTypeChange {
        own: own.clone(),
        at: world.in_seconds(1),
    };
    assert_conflict!(b.update_event_type(change).await, Gone);
    assert!(!b.delete_event_type(app.id, own.event, None).await.unwrap());
    let late = subscription(&world, &own, &function);
    assert_conflict!(b.insert_subscriber(late).await, NoEventType);
    assert_eq!(a.event_type("POST_DEAL_WON").await.unwrap(), Some(own));
}
