//! Secrets.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::world::assert_conflict;
use tollgate_core::ids::AppId;
use tollgate_core::secrets::{NewSecret, Secret, SecretChange};
use tollgate_core::time::Timestamp;
use tollgate_core::vault::Sealed;

/// A secret to be stored.
pub(super) fn new(now: Timestamp, app: Option<AppId>, key: &str, value: u8) -> NewSecret {
    let secret = Secret {
        app,
        app_slug: None,
        key: key.to_owned(),
        description: "for tests".to_owned(),
        tags: vec!["one".to_owned(), "two".to_owned()],
        secret_type: "api_key".to_owned(),
        created_at: now,
        updated_at: now,
        damaged: Vec::new(),
    };
    NewSecret {
        secret,
        sealed: Sealed(vec![value; 50]),
        remember: None,
    }
}

/// Stored, read, changed with and without a value, deleted.
pub async fn a_secret_is_stored_and_changed(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let owner = Some(app.id);
    let made = new(world.now(), owner, "STRIPE", 1);
    let stored = store.insert_secret(made.clone()).await.unwrap();
    let expected = Secret {
        app_slug: Some("crm".to_owned()),
        ..made.secret
    };
    assert_eq!(stored, expected);
    let found = store.secret(owner, "STRIPE").await.unwrap().unwrap();
    assert_eq!((found.secret, found.sealed), (stored.clone(), made.sealed));
    assert_eq!(store.secret(owner, "stripe").await.unwrap(), None);
    assert_eq!(store.secret(None, "STRIPE").await.unwrap(), None);

    let changed = SecretChange {
        secret: Secret {
            description: String::new(),
            tags: Vec::new(),
            ..stored.clone()
        },
        sealed: None,
        at: world.in_seconds(1),
    };
    let after = store.update_secret(changed.clone()).await.unwrap();
    assert_eq!((&after.tags[..], after.updated_at), (&[][..], changed.at));
    let found = store.secret(owner, "STRIPE").await.unwrap().unwrap();
    assert_eq!(found.sealed, Sealed(vec![1; 50]));
    // It was read before that change.
    assert_conflict!(store.update_secret(changed).await, Changed);
    let rotated = SecretChange {
        secret: after,
        sealed: Some(Sealed(vec![2; 60])),
        at: world.in_seconds(2),
    };
    store.update_secret(rotated.clone()).await.unwrap();
    let found = store.secret(owner, "STRIPE").await.unwrap().unwrap();
    assert_eq!(found.sealed, Sealed(vec![2; 60]));

    assert!(store.delete_secret(owner, "STRIPE", None).await.unwrap());
    assert!(!store.delete_secret(owner, "STRIPE", None).await.unwrap());
    assert_conflict!(store.update_secret(rotated).await, Gone);
}

/// An app's and the site's are apart, listed by key, and go with their app.
pub async fn secrets_belong_to_an_app_or_to_the_site(world: World) {
    let (store, now) = (&world.a.store, world.now());
    let (crm, shop) = (world.a.app("crm").await, world.a.app("shop").await);
    for (app, key, value) in [
        (None, "B", 1),
        (None, "A", 2),
        (Some(crm.id), "A", 3),
        (Some(shop.id), "A", 4),
    ] {
        store
            .insert_secret(new(now, app, key, value))
            .await
            .unwrap();
    }
    let taken = store.insert_secret(new(now, Some(crm.id), "A", 5)).await;
    assert_conflict!(taken, Secret);
    let of = async |app: Option<AppId>| -> Vec<String> {
        let listed = store.secrets(app).await.unwrap();
        listed.into_iter().map(|secret| secret.key).collect()
    };
    assert_eq!(of(None).await, ["A", "B"]);
    assert_eq!(of(Some(crm.id)).await, ["A"]);
    let found = store.secret(Some(crm.id), "A").await.unwrap().unwrap();
    assert_eq!(found.sealed, Sealed(vec![3; 50]));

    store.delete_app(crm.id, now, None).await.unwrap();
    assert_eq!(of(Some(crm.id)).await, [] as [&str; 0]);
    let gone = store.insert_secret(new(now, Some(crm.id), "A", 6)).await;
    assert_conflict!(gone, Gone);
    assert_eq!(of(Some(shop.id)).await, ["A"]);
}

/// Whoever saw another state deletes nothing.
pub async fn a_secret_is_deleted_only_as_it_was_seen(world: World) {
    let (store, now) = (&world.a.store, world.now());
    let secret = store.insert_secret(new(now, None, "A", 1)).await.unwrap();
    let other = Some(world.in_seconds(1));
    let refused = store.delete_secret(None, "A", other).await;
    assert_conflict!(refused, Changed);
    let seen = Some(secret.updated_at);
    assert!(store.delete_secret(None, "A", seen).await.unwrap());
    assert!(!store.delete_secret(None, "A", seen).await.unwrap());
}
