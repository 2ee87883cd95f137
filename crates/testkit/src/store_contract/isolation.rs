//! One site never reaches what belongs to another, whatever numbers it guesses.
//!
//! Every method of every scoped trait is called by site `b` with the identifiers of site `a`.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::alone::{Alone, UserCommit};
use super::credentials::{grant, key, token};
use super::secrets::new as secret;
use super::world::{assert_conflict, code, create, delete, next, update};
use super::{World, everything};
use tollgate_core::apps::App;
use tollgate_core::events::EventType;
use tollgate_core::functions::Function;
use tollgate_core::invocations::NewInvocation;
use tollgate_core::ports::store::{
    Epoch, FunctionChange, Instead, InvocationQuery, StoreError, UserQuery, Work,
};
use tollgate_core::secrets::SecretChange;
use tollgate_core::subscribers::SubscriberOptions;
use tollgate_core::tasks::{State, Waiter};
use tollgate_core::users::events::{POST_USER_DELETE, PRE_USER_CREATE};

const EVENT: EventType = PRE_USER_CREATE;

/// [`tollgate_core::ports::store::AppStore`].
pub async fn apps_of_another_site_are_out_of_reach(world: World) {
    let app = world.a.app("crm").await;
    let b = &world.b.store;
    assert_eq!(b.app("crm").await.unwrap(), None);
    let list = b.list_apps(everything()).await.unwrap();
    assert_eq!((list.items.len(), list.total), (0, 0));
    assert_conflict!(
        b.update_app(
            App {
                name: "x".into(),
                ..app.clone()
            },
            None
        )
        .await,
        Gone
    );
    assert!(!b.delete_app(app.id, world.now(), None).await.unwrap());
    assert_eq!(world.a.store.app("crm").await.unwrap(), Some(app));
}

/// [`tollgate_core::ports::store::SecretStore`].
pub async fn secrets_of_another_site_are_out_of_reach(world: World) {
    let app = world.a.app("crm").await;
    let (a, b, now) = (&world.a.store, &world.b.store, world.now());
    for owner in [None, Some(app.id)] {
        let stored = a.insert_secret(secret(now, owner, "KEY", 1)).await.unwrap();
        assert_eq!(b.secrets(owner).await.unwrap(), []);
        assert_eq!(b.secret(owner, "KEY").await.unwrap(), None);
        let change = SecretChange {
            secret: stored,
            sealed: None,
            at: world.in_seconds(1),
        };
        assert_conflict!(b.update_secret(change).await, Gone);
        assert!(!b.delete_secret(owner, "KEY", None).await.unwrap());
        assert!(a.secret(owner, "KEY").await.unwrap().is_some());
    }
    let theirs = secret(now, Some(app.id), "OTHER", 1);
    assert_conflict!(b.insert_secret(theirs).await, Gone);
}

/// [`tollgate_core::ports::store::FunctionStore`].
pub async fn functions_of_another_site_are_out_of_reach(world: World) {
    let function = world.a.some_function().await;
    let version = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap()
        .version_id;
    let b = &world.b.store;
    let list = b
        .list_functions(function.app_id, everything())
        .await
        .unwrap();
    assert_eq!((list.items.len(), list.total), (0, 0));
    assert_eq!(
        b.function(function.app_id, &function.slug).await.unwrap(),
        None
    );
    assert_eq!(b.function_by_id(function.id).await.unwrap(), None);
    let versions = b.versions(function.id, everything()).await.unwrap();
    assert_eq!((versions.items.len(), versions.total), (0, 0));
    assert_eq!(b.version(function.id, 1).await.unwrap(), None);
    assert_eq!(b.executable(function.id).await.unwrap(), None);
    let new = world.b.new_function(function.app_id, "mine");
    assert_conflict!(b.insert_function(new).await, Gone);
    let changed = Function {
        name: "x".into(),
        ..function.clone()
    };
    let change = FunctionChange {
        author: None,
        declares: false,
        function: changed,
        version: None,
        at: world.now(),
    };
    assert_conflict!(b.update_function(change).await, Gone);
    let deployed = b.insert_version(function.id, code("x"), world.now());
    assert_conflict!(deployed.await, Gone);
    assert_eq!(
        b.executable_of(function.id, 1, Instead::default())
            .await
            .unwrap(),
        None
    );
    let deleted = b.delete_function(function.id, world.now(), None).await;
    assert!(!deleted.unwrap());
    let site = world.b.site.id;
    let found = world.system.executable_version(site, version).await;
    assert_eq!(found.unwrap(), None);
    assert_eq!(
        world.a.store.function_by_id(function.id).await.unwrap(),
        Some(function.clone())
    );
    let versions = world.a.store.versions(function.id, everything()).await;
    assert_eq!(versions.unwrap().total, 1);
    let list = world
        .a
        .store
        .list_functions(function.app_id, everything())
        .await
        .unwrap();
    assert_eq!(list.total, 1);
}

/// [`tollgate_core::ports::store::SubscriberStore`].
pub async fn subscribers_of_another_site_are_out_of_reach(world: World) {
    let function = world.a.some_function().await;
    let subscriber = world.a.subscribe(EVENT, &function, 0).await.unwrap();
    let b = &world.b.store;
    assert!(b.subscriptions(EVENT).await.unwrap().is_empty());
    assert_eq!(b.subscriber(EVENT, function.id).await.unwrap(), None);
    assert_eq!(b.list_subscribers(EVENT, None).await.unwrap(), []);
    assert_eq!(
        b.list_subscribers(EVENT, Some(function.app_id))
            .await
            .unwrap(),
        []
    );
    assert_conflict!(world.b.subscribe(EVENT, &function, 0).await, Gone);
    assert_conflict!(
        world.b.subscribe(POST_USER_DELETE, &function, 0).await,
        Gone
    );
    let options = SubscriberOptions {
        priority: 9,
        ..SubscriberOptions::default()
    };
    let changed = b
        .update_subscriber(EVENT, function.id, options, Some(false), world.now(), None)
        .await
        .unwrap();
    assert_eq!(changed, None);
    assert!(!b.delete_subscriber(EVENT, function.id, None).await.unwrap());
    let kept = world.a.store.subscriber(EVENT, function.id).await.unwrap();
    assert_eq!(kept, Some(subscriber));
}

/// [`tollgate_core::ports::store::UserStore`].
pub async fn users_of_another_site_are_out_of_reach(world: World) {
    let ann = world.a.user("ann").await;
    let b = &world.b.store;
    let site = world.b.site.id;
    assert_eq!(b.user(ann.id).await.unwrap(), None);
    assert_eq!(b.user_by_name("ann").await.unwrap(), None);
    b.check_user_is_free("ann", "ann@example.com", None)
        .await
        .unwrap();
    for query in [
        UserQuery::default(),
        UserQuery {
            search: Some("a".into()),
            ..UserQuery::default()
        },
    ] {
        let list = b.list_users(query, everything()).await.unwrap();
        assert_eq!((list.items.len(), list.total), (0, 0));
    }
    assert_conflict!(world.b.change(update(&next(&ann))).await, Gone);
    assert_conflict!(world.b.change(delete(&ann)).await, Gone);
    assert!(
        world
            .system
            .login_record(site, "ann")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .system
            .owner(site, ann.id, world.now())
            .await
            .unwrap()
            .is_none()
    );
    // Not even with the same number.
    let mut same = world.b.new_user("other").await;
    same.id = ann.id;
    world.b.create(&same).await.unwrap_err();
    assert_eq!(world.a.store.user(ann.id).await.unwrap(), Some(ann));
}

/// [`tollgate_core::ports::store::CredentialStore`].
pub async fn credentials_of_another_site_are_out_of_reach(world: World) {
    let app = world.a.app("crm").await;
    let ann = world.a.user("ann").await;
    let bob = world.b.user("bob").await;
    let now = world.now();
    let a = &world.a.store;
    a.assign_roles(vec![ann.id], vec![grant(Some(app.id), None)], now)
        .await
        .unwrap();
    let stored_key = a.insert_api_key(key(ann.id, "hash-1", now)).await.unwrap();
    a.insert_token(token(ann.id, "one", now), Epoch(0))
        .await
        .unwrap();

    let b = &world.b.store;
    let site = world.b.site.id;
    assert_eq!(b.role_grants(ann.id, now).await.unwrap(), []);
    for grants in [vec![grant(Some(app.id), None)], vec![grant(None, None)]] {
        assert_eq!(
            b.assign_roles(vec![ann.id], grants.clone(), now)
                .await
                .unwrap(),
            0
        );
        assert_eq!(b.revoke_roles(vec![ann.id], grants).await.unwrap(), 0);
    }
    let foreign_app = vec![grant(Some(app.id), None)];
    assert_eq!(
        b.assign_roles(vec![bob.id], foreign_app, now)
            .await
            .unwrap(),
        0
    );
    assert_eq!(b.api_keys(ann.id).await.unwrap(), []);
    assert!(!b.delete_api_key(ann.id, stored_key.id).await.unwrap());
    assert_conflict!(b.insert_api_key(key(ann.id, "hash-2", now)).await, Gone);
    let two = token(ann.id, "two", now);
    assert_conflict!(b.insert_token(two.clone(), Epoch(0)).await, Gone);
    assert!(!b.exchange_token("one".to_owned(), two).await.unwrap());
    let family = token(ann.id, "one", now).family;
    b.end_family(ann.id, family, now, now).await.unwrap();
    b.note_key_use(stored_key.id, now).await.unwrap();
    assert_eq!(
        world
            .system
            .api_key_owner(site, "hash-1", now)
            .await
            .unwrap(),
        None
    );
    assert_eq!(world.system.token(site, "one").await.unwrap(), None);

    assert_eq!(a.role_grants(ann.id, now).await.unwrap().len(), 1);
    assert_eq!(a.api_keys(ann.id).await.unwrap(), [stored_key]);
    let kept = world
        .system
        .token(world.a.site.id, "one")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.ended_at, None);
    let owner = world.system.owner(world.a.site.id, ann.id, now).await;
    assert!(owner.unwrap().unwrap().ended_families.is_empty());
}

/// [`tollgate_core::ports::store::InvocationStore`], and what a commit of a user carries.
pub async fn invocations_of_another_site_are_out_of_reach(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, Some("me")).await;
    let b = &world.b.store;
    assert!(b.invocation(run.id).await.unwrap().is_none());
    assert!(b.invocation_by_task(run.task_id).await.unwrap().is_none());
    for query in [
        InvocationQuery::default(),
        InvocationQuery {
            function_slug: Some(function.slug.clone()),
            ..Default::default()
        },
        InvocationQuery {
            states: vec![State::Pending],
            ..Default::default()
        },
    ] {
        let list = b.list_invocations(query, everything()).await.unwrap();
        assert_eq!((list.items.len(), list.total), (0, 0));
    }
    no_end_from_another_site(&world, &run).await;

    // A record of another site is refused with all that came with it.
    let foreign = world.a.new_run(&function, Waiter::Nobody, None).await;
    let work = Work {
        births: vec![foreign.clone()],
        ..Work::default()
    };
    assert!(matches!(b.commit(work).await, Err(StoreError::Failed(_))));
    let mut smuggled = world.a.whole(&foreign, State::Succeeded);
    assert_eq!(b.complete(vec![smuggled.clone()]).await.unwrap(), [false]);
    smuggled.site_id = world.b.site.id;
    assert!(matches!(
        b.complete(vec![smuggled]).await,
        Err(StoreError::Failed(_))
    ));
    let carl = world.b.new_user("carl").await;
    let commit = UserCommit {
        author: None,
        change: create(&carl),
        completions: Vec::new(),
        invocations: vec![NewInvocation { ..foreign.clone() }],
        remember: None,
    };
    assert!(b.commit_user(commit, Box::new(|| {})).await.is_err());
    assert_eq!(b.user(carl.id).await.unwrap(), None);
    assert!(
        world
            .a
            .store
            .invocation(foreign.id)
            .await
            .unwrap()
            .is_none()
    );
}

/// Neither under its own site's name nor under the other's.
async fn no_end_from_another_site(world: &World, run: &NewInvocation) {
    let b = &world.b.store;
    let named_a = world.a.end(run, 1, State::Succeeded);
    let mut named_b = named_a.clone();
    named_b.site_id = world.b.site.id;
    let ends = vec![named_a.clone(), named_b.clone()];
    assert_eq!(b.complete(ends.clone()).await.unwrap(), [false, false]);
    assert_eq!(world.system.complete(vec![named_b]).await.unwrap(), [false]);
    b.complete_later(ends.clone(), Box::new(|| {}));
    let bob = world.b.new_user("bob").await;
    let commit = UserCommit {
        author: None,
        change: create(&bob),
        completions: ends,
        invocations: Vec::new(),
        remember: None,
    };
    // Nor does a change rest on a verdict of another site.
    let refused = b.commit_user(commit, Box::new(|| {})).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(world.a.standing(run).await, (State::Pending, 1));
}

/// What is unique is unique within a site.
pub async fn the_same_names_live_in_two_sites(world: World) {
    for tenant in [&world.a, &world.b] {
        let function = tenant.some_function().await;
        tenant.subscribe(EVENT, &function, 0).await.unwrap();
        let user = tenant.user("ann").await;
        let found = tenant.store.user_by_name("ann").await.unwrap().unwrap();
        assert_eq!(found.id, user.id);
    }
}
