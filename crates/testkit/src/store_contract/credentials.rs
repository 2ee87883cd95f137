//! Roles, API keys and tokens.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::alone::Alone;
use super::world::{assert_conflict, delete, next, update};
use super::{World, everything};
use std::time::Duration;
use tollgate_core::ids::{ApiKeyId, AppId, UserId};
use tollgate_core::ports::store::{
    Epoch, NewApiKey, RoleGrant, Token, TokenKind, UserChange, UserQuery,
};
use tollgate_core::rights::RoleName;
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;

/// A developer's role.
pub(super) fn grant(app_id: Option<AppId>, expires_at: Option<Timestamp>) -> RoleGrant {
    RoleGrant {
        app_id,
        app_slug: None,
        role: RoleName::Developer,
        expires_at,
    }
}

pub(super) fn key(user: UserId, hash: &str, now: Timestamp) -> NewApiKey {
    NewApiKey {
        user_id: user,
        name: "a key".to_owned(),
        prefix: hash[..4].to_owned(),
        hash: hash.to_owned(),
        created_at: now,
        expires_at: None,
        remember: None,
    }
}

pub(super) fn token(user: UserId, hash: &str, now: Timestamp) -> Token {
    Token {
        hash: hash.to_owned(),
        kind: TokenKind::Refresh,
        user_id: user,
        family: uuid::Uuid::from_u128(7),
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        ended_at: None,
    }
}

/// Whatever is decided on what somebody may do is not written after that has changed.
pub async fn a_change_of_roles_raises_the_revision(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let (store, grants) = (&world.a.store, vec![grant(None, None)]);
    let raised = async |before: &User| {
        let now = store.user(before.id).await.unwrap().unwrap();
        now.revision - before.revision
    };
    let taken = store.revoke_roles(vec![ann.id], grants.clone()).await;
    assert_eq!((taken.unwrap(), raised(&ann).await), (0, 0));
    let given = store.assign_roles(vec![ann.id], grants.clone(), world.now());
    assert_eq!((given.await.unwrap(), raised(&ann).await), (1, 1));
    // What was decided before is not written.
    assert_conflict!(world.a.change(update(&next(&ann))).await, Changed);
    assert_conflict!(world.a.change(delete(&ann)).await, Changed);
    let both = vec![ann.id, bob.id];
    let taken = store.revoke_roles(both, grants).await;
    assert_eq!((taken.unwrap(), raised(&ann).await), (1, 2));
    assert_eq!(raised(&bob).await, 0);
}

/// Pairs are counted; one held already gets the new end.
pub async fn roles_are_given_and_taken(world: World) {
    let app = world.a.app("crm").await;
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let both = vec![ann.id, bob.id];
    let grants = vec![grant(Some(app.id), None), grant(None, None)];
    let store = &world.a.store;
    let now = world.now();
    assert_eq!(
        store
            .assign_roles(both.clone(), grants.clone(), now)
            .await
            .unwrap(),
        4
    );
    let held = store.role_grants(ann.id, now).await.unwrap();
    assert_eq!(held.len(), 2);
    assert!(held.contains(&RoleGrant {
        app_slug: Some("crm".into()),
        ..grants[0].clone()
    }));
    assert!(held.contains(&grants[1]));

    let end = Some(world.in_seconds(10));
    let renewed = vec![grant(Some(app.id), end)];
    assert_eq!(
        store
            .assign_roles(vec![ann.id], renewed, now)
            .await
            .unwrap(),
        1
    );
    let held = store.role_grants(ann.id, now).await.unwrap();
    assert_eq!(held.len(), 2);
    assert!(
        held.iter()
            .any(|held| held.app_id == Some(app.id) && held.expires_at == end)
    );

    assert_eq!(
        store
            .revoke_roles(both.clone(), vec![grant(None, None)])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        store
            .revoke_roles(both, vec![grant(None, None)])
            .await
            .unwrap(),
        0
    );
    assert_eq!(store.role_grants(bob.id, now).await.unwrap().len(), 1);
    let strangers = vec![UserId(999_999)];
    assert_eq!(store.assign_roles(strangers, grants, now).await.unwrap(), 0);
    let nowhere = vec![grant(Some(AppId(999_999)), None)];
    assert_eq!(
        store
            .assign_roles(vec![ann.id], nowhere, now)
            .await
            .unwrap(),
        0
    );
}

/// A role is worth nothing from its end on, wherever it is read.
pub async fn roles_end(world: World) {
    let app = world.a.app("crm").await;
    let ann = world.a.user("ann").await;
    let grants = vec![grant(Some(app.id), Some(world.in_seconds(10)))];
    world
        .a
        .store
        .assign_roles(vec![ann.id], grants, world.now())
        .await
        .unwrap();
    for (seconds, count) in [(9, 1), (1, 0)] {
        world.clock.advance(Duration::from_secs(seconds));
        let now = world.now();
        assert_eq!(
            world.a.store.role_grants(ann.id, now).await.unwrap().len(),
            count
        );
        let owner = world
            .system
            .owner(world.a.site.id, ann.id, now)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((owner.grants.len(), owner.user.roles.len()), (count, count));
        assert_eq!(
            world
                .a
                .store
                .user(ann.id)
                .await
                .unwrap()
                .unwrap()
                .roles
                .len(),
            count
        );
        let query = UserQuery {
            roles: vec!["crm:developer".into()],
            ..UserQuery::default()
        };
        let page = world.a.store.list_users(query, everything()).await.unwrap();
        assert_eq!((page.items.len(), page.total), (count, count as u64));
        let page = world
            .a
            .store
            .list_users(UserQuery::default(), everything())
            .await
            .unwrap();
        assert_eq!(page.items[0].roles.len(), count);
    }
}

/// `"app:role"` in an app, `"role"` in the site, wherever a user is read.
pub async fn role_slugs_name_their_app(world: World) {
    let app = world.a.app("crm").await;
    let ann = world.a.user("ann").await;
    world.a.user("bob").await;
    let grants = vec![grant(Some(app.id), None), grant(None, None)];
    world
        .a
        .store
        .assign_roles(vec![ann.id], grants, world.now())
        .await
        .unwrap();
    let site = world.a.site.id;
    let list = world
        .a
        .store
        .list_users(UserQuery::default(), everything())
        .await
        .unwrap();
    assert_eq!(list.items[1].roles, [""; 0]);
    for mut user in [
        world.a.store.user(ann.id).await.unwrap().unwrap(),
        world.a.store.user_by_name("ann").await.unwrap().unwrap(),
        world
            .system
            .login_record(site, "ann")
            .await
            .unwrap()
            .unwrap()
            .user,
        world
            .system
            .owner(site, ann.id, world.now())
            .await
            .unwrap()
            .unwrap()
            .user,
        list.items[0].clone(),
    ] {
        user.roles.sort();
        assert_eq!(user.roles, ["crm:developer", "developer"]);
    }
}

/// Holders of one of the named roles.
pub async fn users_are_found_by_role(world: World) {
    let app = world.a.app("crm").await;
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    world.a.user("carl").await;
    let now = world.now();
    let in_app = vec![grant(Some(app.id), None)];
    world
        .a
        .store
        .assign_roles(vec![ann.id], in_app, now)
        .await
        .unwrap();
    world
        .a
        .store
        .assign_roles(vec![bob.id], vec![grant(None, None)], now)
        .await
        .unwrap();
    for (roles, expected) in [
        (vec!["crm:developer"], vec![ann.id]),
        (vec!["developer"], vec![bob.id]),
        (vec!["developer", "crm:developer"], vec![ann.id, bob.id]),
        (vec!["crm:admin", "other:developer"], vec![]),
    ] {
        let roles = roles.into_iter().map(str::to_owned).collect();
        let query = UserQuery {
            roles,
            ..UserQuery::default()
        };
        let page = world.a.store.list_users(query, everything()).await.unwrap();
        assert_eq!(
            page.items.iter().map(|user| user.id).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(page.total, expected.len() as u64);
    }
}

/// Listed newest first, deleted only by their owner's number.
pub async fn api_keys_belong_to_one_user(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let store = &world.a.store;
    let first = store
        .insert_api_key(key(ann.id, "hash-1", world.now()))
        .await
        .unwrap();
    let second = store
        .insert_api_key(key(ann.id, "hash-2", world.now()))
        .await
        .unwrap();
    assert_eq!(
        store.api_keys(ann.id).await.unwrap(),
        [second.clone(), first.clone()]
    );
    assert_eq!(store.api_keys(bob.id).await.unwrap(), []);
    let before = Timestamp::from_micros(world.now().as_micros() - 1);
    let older = store
        .insert_api_key(key(ann.id, "hash-0", before))
        .await
        .unwrap();
    let listed = store.api_keys(ann.id).await.unwrap();
    assert_eq!(listed.last(), Some(&older), "by time, not by number");
    assert!(store.delete_api_key(ann.id, older.id).await.unwrap());
    let site = world.a.site.id;
    let owner = world
        .system
        .api_key_owner(site, "hash-1", world.now())
        .await
        .unwrap();
    assert_eq!(owner.map(|owner| owner.user), Some(ann.id));
    assert_eq!(owner.map(|owner| owner.last_used_at), Some(None));
    let at = world.in_seconds(3);
    store.note_key_use(first.id, at).await.unwrap();
    let owner = world.system.api_key_owner(site, "hash-1", at).await;
    assert_eq!(owner.unwrap().unwrap().last_used_at, Some(at));
    let listed = store.api_keys(ann.id).await.unwrap();
    assert_eq!(listed[1].last_used_at, Some(at));
    assert_eq!(listed[0], second);
    assert_eq!(
        world
            .system
            .api_key_owner(site, "hash-3", world.now())
            .await
            .unwrap(),
        None
    );
    assert!(!store.delete_api_key(bob.id, first.id).await.unwrap());
    assert!(
        !store
            .delete_api_key(ann.id, ApiKeyId(999_999))
            .await
            .unwrap()
    );
    assert!(store.delete_api_key(ann.id, first.id).await.unwrap());
    assert_eq!(
        world
            .system
            .api_key_owner(site, "hash-1", world.now())
            .await
            .unwrap(),
        None
    );
    assert_eq!(store.api_keys(ann.id).await.unwrap(), [second]);
    let nobody = key(UserId(999_999), "hash-4", world.now());
    assert_conflict!(store.insert_api_key(nobody).await, Gone);
}

/// A key is worth nothing from its end on.
pub async fn api_keys_end(world: World) {
    let ann = world.a.user("ann").await;
    let end = world.in_seconds(10);
    let new = NewApiKey {
        expires_at: Some(end),
        ..key(ann.id, "hash-1", world.now())
    };
    world.a.store.insert_api_key(new).await.unwrap();
    let site = world.a.site.id;
    let before = world
        .system
        .api_key_owner(site, "hash-1", world.in_seconds(9))
        .await
        .unwrap();
    assert_eq!(before.map(|owner| owner.user), Some(ann.id));
    assert_eq!(
        world
            .system
            .api_key_owner(site, "hash-1", end)
            .await
            .unwrap(),
        None
    );
}

/// Exchanged once, and told apart from one that never was until it would have expired.
pub async fn tokens_are_exchanged_once_and_remembered(world: World) {
    let ann = world.a.user("ann").await;
    let site = world.a.site.id;
    let store = &world.a.store;
    let one = token(ann.id, "one", world.now());
    store.insert_token(one.clone(), Epoch(0)).await.unwrap();
    let stored = world.system.token(site, "one").await.unwrap();
    assert_eq!(stored, Some(one));
    let at = world.in_seconds(1);
    let next = |hash: &str| token(ann.id, hash, at);
    let exchange = async |used: &str, hash: &str| {
        let exchanged = store.exchange_token(used.to_owned(), next(hash));
        exchanged.await.unwrap()
    };
    assert!(exchange("one", "two").await);
    assert!(!exchange("one", "three").await, "a second use");
    assert!(!exchange("none", "three").await);
    assert_eq!(world.system.token(site, "three").await.unwrap(), None);
    let ended = world.system.token(site, "one").await.unwrap().unwrap();
    assert_eq!(ended.ended_at, Some(at));
    let lives = world.system.token(site, "two").await.unwrap().unwrap();
    assert_eq!(lives.ended_at, None);
    // A session is no refresh token.
    let session = Token {
        kind: TokenKind::Session,
        ..token(ann.id, "session", at)
    };
    store.insert_token(session, Epoch(0)).await.unwrap();
    assert!(!exchange("session", "three").await);
    // Somebody signs in after the tokens' natural end: they may be forgotten, not revived.
    let late = token(ann.id, "four", world.in_seconds(3600));
    store.insert_token(late, Epoch(0)).await.unwrap();
    let forgotten = world.system.token(site, "one").await.unwrap();
    assert!(forgotten.is_none_or(|token| token.ended_at == Some(at)));
    let nobody = token(UserId(999_999), "five", world.now());
    assert_conflict!(store.insert_token(nobody, Epoch(0)).await, Gone);
}

/// All that came from one sign-in ends together, and nothing else.
pub async fn a_family_ends_alone(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let site = world.a.site.id;
    let store = &world.a.store;
    let (now, at) = (world.now(), world.in_seconds(1));
    let other = Token {
        family: uuid::Uuid::from_u128(8),
        ..token(ann.id, "other", now)
    };
    for token in [
        token(ann.id, "one", now),
        token(ann.id, "two", now),
        other,
        token(bob.id, "bob", now),
    ] {
        store.insert_token(token, Epoch(0)).await.unwrap();
    }
    let family = token(ann.id, "one", now).family;
    let end = async || {
        let ended = store.end_family(ann.id, family, at, world.in_seconds(60));
        ended.await.unwrap();
    };
    end().await;
    end().await;
    for (hash, ended_at) in [
        ("one", Some(at)),
        ("two", Some(at)),
        ("other", None),
        ("bob", None),
    ] {
        let token = world.system.token(site, hash).await.unwrap().unwrap();
        assert_eq!(token.ended_at, ended_at, "{hash}");
    }
    let ended = async |user| {
        let owner = world.system.owner(site, user, world.now()).await;
        owner.unwrap().unwrap().ended_families
    };
    assert_eq!(ended(ann.id).await, [family]);
    assert!(ended(bob.id).await.is_empty());
    let next = token(ann.id, "three", at);
    assert!(!store.exchange_token("one".to_owned(), next).await.unwrap());
    world.clock.advance(Duration::from_secs(61));
    world.system.sweep_tokens(10, world.now()).await.unwrap();
    assert!(ended(ann.id).await.is_empty());
}

/// A new password, and a closed account, end what is open and what is being opened.
pub async fn an_epoch_ends_with_password_and_activity(world: World) {
    let ann = world.a.user("ann").await;
    let site = world.a.site.id;
    let store = &world.a.store;
    let epoch = async || {
        let owner = world.system.owner(site, ann.id, world.now()).await;
        let login = world.system.login_record(site, "ann").await;
        let epoch = owner.unwrap().unwrap().epoch;
        assert_eq!(login.unwrap().unwrap().epoch, epoch);
        epoch
    };
    assert_eq!(epoch().await, Epoch(0));
    let renamed = super::world::next(&ann);
    world.a.change(update(&renamed)).await.unwrap();
    assert_eq!(epoch().await, Epoch(0));
    store
        .insert_token(token(ann.id, "one", world.now()), Epoch(0))
        .await
        .unwrap();
    let changed = super::world::next(&renamed);
    let change = UserChange::Update {
        user: Box::new(changed.clone()),
        password_hash: Some("another".to_owned()),
    };
    world.a.change(change).await.unwrap();
    assert_eq!(epoch().await, Epoch(1));
    let one = world.system.token(site, "one").await.unwrap().unwrap();
    assert!(one.ended_at.is_some());
    // Whoever was let in by the old password is too late.
    let late = token(ann.id, "two", world.now());
    assert_conflict!(store.insert_token(late.clone(), Epoch(0)).await, Gone);
    store.insert_token(late, Epoch(1)).await.unwrap();
    let mut closed = super::world::next(&changed);
    closed.profile.is_active = false;
    world.a.change(update(&closed)).await.unwrap();
    assert_eq!(epoch().await, Epoch(2));
    let two = world.system.token(site, "two").await.unwrap().unwrap();
    assert!(two.ended_at.is_some());
    let three = token(ann.id, "three", world.now());
    assert_conflict!(store.insert_token(three, Epoch(2)).await, Gone);
    let mut back = super::world::next(&closed);
    back.profile.is_active = true;
    world.a.change(update(&back)).await.unwrap();
    let owner = world.system.owner(site, ann.id, world.now()).await;
    assert_eq!(owner.unwrap().unwrap().epoch, Epoch(2));
}

/// Another hash of the same password stands there only if the old one still does; tokens live on.
pub async fn a_password_is_hashed_anew_and_nothing_ends(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let (site, store) = (world.a.site.id, &world.a.store);
    let change = UserChange::Update {
        user: Box::new(super::world::next(&ann)),
        password_hash: Some("weak".to_owned()),
    };
    world.a.change(change).await.unwrap();
    let before = world.system.login_record(site, "ann").await;
    let before = before.unwrap().unwrap();
    let one = token(ann.id, "one", world.now());
    store.insert_token(one, before.epoch).await.unwrap();
    let replace = async |user: UserId, old: &str, new: &str| {
        let (old, new) = (old.to_owned(), new.to_owned());
        store.replace_password_hash(user, old, new).await.unwrap()
    };
    assert!(replace(ann.id, "weak", "strong").await);
    // A password that was changed meanwhile is not undone.
    assert!(!replace(ann.id, "weak", "other").await);
    assert!(!replace(bob.id, "weak", "other").await);
    let foreign = &world.b.store;
    let reached = foreign.replace_password_hash(ann.id, "strong".to_owned(), "other".to_owned());
    assert!(!reached.await.unwrap());
    let after = world.system.login_record(site, "ann").await;
    let after = after.unwrap().unwrap();
    assert_eq!(after.password_hash.as_deref(), Some("strong"));
    assert_eq!(after.epoch, before.epoch);
    assert_eq!(after.user.revision, before.user.revision);
    let one = world.system.token(site, "one").await.unwrap().unwrap();
    assert_eq!(one.ended_at, None);
    world.a.change(delete(&before.user)).await.unwrap();
    assert!(!replace(ann.id, "strong", "other").await);
}

/// A sign-in sets `last_login`, and an update decided before it does not take it back.
pub async fn sign_in_is_noted(world: World) {
    let ann = world.a.user("ann").await;
    let at = world.in_seconds(5);
    let store = &world.a.store;
    let last_login = async || store.user(ann.id).await.unwrap().unwrap().last_login;
    assert_eq!(last_login().await, None);
    store
        .insert_token(token(ann.id, "one", at), Epoch(0))
        .await
        .unwrap();
    assert_eq!(last_login().await, Some(at));
    let later = token(ann.id, "two", world.in_seconds(6));
    let exchanged = store.exchange_token("one".to_owned(), later);
    assert!(exchanged.await.unwrap());
    assert_eq!(last_login().await, Some(at), "no sign-in");
    let renamed = super::world::next(&ann);
    world.a.change(update(&renamed)).await.unwrap();
    assert_eq!(last_login().await, Some(at));
}

/// A deleted user's keys and tokens prove nothing.
pub async fn deletion_ends_credentials(world: World) {
    let ann = world.a.user("ann").await;
    let site = world.a.site.id;
    world
        .a
        .store
        .insert_api_key(key(ann.id, "hash-1", world.now()))
        .await
        .unwrap();
    world
        .a
        .store
        .insert_token(token(ann.id, "one", world.now()), Epoch(0))
        .await
        .unwrap();
    world.a.change(delete(&ann)).await.unwrap();
    assert_eq!(
        world
            .system
            .api_key_owner(site, "hash-1", world.now())
            .await
            .unwrap(),
        None
    );
    let ended = world.system.token(site, "one").await.unwrap();
    assert!(ended.is_none_or(|token| token.ended_at.is_some()));
    let again = token(ann.id, "two", world.now());
    assert_conflict!(world.a.store.insert_token(again, Epoch(1)).await, Gone);
}
