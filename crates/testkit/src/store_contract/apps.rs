//! Apps.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::alone::Alone;
use super::world::assert_conflict;
use super::{World, everything};
use tollgate_core::apps::App;
use tollgate_core::ports::store::PageRequest;
use tollgate_core::users::events::PRE_USER_CREATE;

/// Stored, read, changed.
pub async fn an_app_is_stored_and_changed(world: World) {
    let app = world.a.app("crm").await;
    assert_eq!(app.slug, "crm");
    assert_eq!(app.created_at, world.now());
    assert_eq!(world.a.store.app("crm").await.unwrap(), Some(app.clone()));
    assert_eq!(world.a.store.app("none").await.unwrap(), None);
    let changed = App {
        name: "CRM".into(),
        description: String::new(),
        updated_at: world.in_seconds(9),
        ..app
    };
    assert_eq!(
        world
            .a
            .store
            .update_app(changed.clone(), None)
            .await
            .unwrap(),
        changed
    );
    assert_eq!(
        world.a.store.app("crm").await.unwrap(),
        Some(changed.clone())
    );
    assert!(
        world
            .a
            .store
            .delete_app(changed.id, world.now(), None)
            .await
            .unwrap()
    );
    assert!(
        !world
            .a
            .store
            .delete_app(changed.id, world.now(), None)
            .await
            .unwrap()
    );
    assert_eq!(world.a.store.app("crm").await.unwrap(), None);
    assert_conflict!(world.a.store.update_app(changed, None).await, Gone);
}

/// A slug is free again after a deletion, and the new app is another one.
pub async fn app_slugs_are_unique_until_deleted(world: World) {
    let first = world.a.app("crm").await;
    assert_conflict!(world.a.store.insert_app(world.a.new_app("crm")).await, Slug);
    world
        .a
        .store
        .delete_app(first.id, world.now(), None)
        .await
        .unwrap();
    let second = world.a.app("crm").await;
    assert_ne!(first.id, second.id);
}

/// Pages do not overlap and know the total.
pub async fn apps_are_paged_by_slug(world: World) {
    for slug in ["c", "a", "d", "b"] {
        world.a.app(slug).await;
    }
    let page = PageRequest {
        limit: 2,
        offset: 1,
    };
    let page = world.a.store.list_apps(page).await.unwrap();
    assert_eq!(page.total, 4);
    assert_eq!(
        page.items
            .iter()
            .map(|app| app.slug.as_str())
            .collect::<Vec<_>>(),
        ["b", "c"]
    );
}

/// Functions, subscriptions and roles go with their app.
pub async fn a_deleted_app_takes_its_functions_along(world: World) {
    let (store, now, event) = (&world.a.store, world.now(), PRE_USER_CREATE);
    let function = world.a.some_function().await;
    let (app, user) = (function.app_id, world.a.user("ann").await);
    let other = world.a.app("other").await;
    let kept = world.a.function(other.id, "kept").await;
    for function in [&function, &kept] {
        world.a.subscribe(event, function, 0).await.unwrap();
    }
    let grants = vec![super::credentials::grant(Some(app), None)];
    store
        .assign_roles(vec![user.id], grants, now)
        .await
        .unwrap();

    assert!(store.delete_app(app, now, None).await.unwrap());
    assert_eq!(store.function_by_id(function.id).await.unwrap(), None);
    assert_eq!(store.executable(function.id).await.unwrap(), None);
    let subscriptions = store.subscriptions(event).await.unwrap();
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].executable.function_id, kept.id);
    let listed = store.list_subscribers(event, None).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(store.role_grants(user.id, now).await.unwrap(), []);
    let functions = store.list_functions(app, everything()).await.unwrap();
    assert_eq!(functions.total, 0);
}

/// Whoever saw another state deletes nothing.
pub async fn an_app_is_deleted_only_as_it_was_seen(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let now = world.in_seconds(5);
    let other = Some(world.in_seconds(1));
    assert_conflict!(store.delete_app(app.id, now, other).await, Changed);
    assert_eq!(store.app("crm").await.unwrap(), Some(app.clone()));
    let seen = Some(app.updated_at);
    assert!(store.delete_app(app.id, now, seen).await.unwrap());
    assert!(!store.delete_app(app.id, now, seen).await.unwrap());
}
