//! Functions and versions.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::{assert_conflict, code};
use super::{Tenant, World, everything};
use std::sync::Arc;
use tollgate_core::functions::webhook::SealedSecrets;
use tollgate_core::functions::{ExecutionMode, Function, Source};
use tollgate_core::ids::{AppId, FunctionId, VersionId};
use tollgate_core::ports::store::{FunctionChange, Instead, NewFunction, Page, PageRequest};
use tollgate_core::rights::{ActsAs, FunctionRights, GrantScope, Granted, Permission};
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;
use tollgate_core::vault::Sealed;

/// Everything that was given is read again, and the first version runs.
pub async fn a_function_is_stored_with_version_one(world: World) {
    let app = world.a.app("crm").await;
    let new = world.a.new_function(app.id, "check");
    let function = world.a.store.insert_function(new.clone()).await.unwrap();
    assert_eq!(
        (function.app_slug.as_str(), function.app_name.as_str()),
        ("crm", "App crm")
    );
    assert_eq!((function.version, &function.options), (1, &new.options));
    assert_eq!(
        world.a.store.function(app.id, "check").await.unwrap(),
        Some(function.clone())
    );
    assert_eq!(
        world.a.store.function_by_id(function.id).await.unwrap(),
        Some(function.clone())
    );
    let list = world
        .a
        .store
        .list_functions(app.id, everything())
        .await
        .unwrap();
    assert_eq!((list.items, list.total), (vec![function.clone()], 1));

    let versions = world.a.store.versions(function.id, everything()).await;
    let Page { items, total } = versions.unwrap();
    assert_eq!((items.len(), total), (1, 1));
    assert!(items[0].is_active);
    let version = world.a.store.version(function.id, 1).await.unwrap();
    let version = version.unwrap();
    assert_eq!((&version.entry, &version.source), (&items[0], &new.source));
    for none in [0, 2, u32::MAX] {
        assert_eq!(
            world.a.store.version(function.id, none).await.unwrap(),
            None
        );
    }
    let executable = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (executable.version_id, executable.version),
        (items[0].id, 1)
    );
    assert_eq!(executable.site_id, world.a.site.id);
    assert_eq!(
        (executable.site_slug.as_str(), executable.app_slug.as_str()),
        ("alpha", "crm")
    );
    assert_eq!(
        (executable.source, executable.options),
        (new.source, new.options)
    );
}

/// One slug per app; another app may have it too; a missing app is told apart.
pub async fn function_slugs_are_unique_within_an_app(world: World) {
    let (one, two) = (world.a.app("one").await, world.a.app("two").await);
    let first = world.a.function(one.id, "check").await;
    world.a.function(two.id, "check").await;
    let again = world
        .a
        .store
        .insert_function(world.a.new_function(one.id, "check"))
        .await;
    assert_conflict!(again, Slug);
    let nowhere = world.a.new_function(AppId(999_999), "check");
    assert_conflict!(world.a.store.insert_function(nowhere).await, Gone);
    let other = world.a.function(one.id, "other").await;
    let renamed = Function {
        slug: "check".into(),
        ..other.clone()
    };
    let change = FunctionChange {
        author: None,
        declares: false,
        function: renamed,
        version: None,
        at: world.now(),
    };
    assert_conflict!(world.a.store.update_function(change).await, Slug);
    let versions = world.a.store.versions(other.id, everything()).await;
    assert_eq!(versions.unwrap().total, 1);
    world
        .a
        .store
        .delete_function(first.id, world.now(), None)
        .await
        .unwrap();
    world.a.function(one.id, "check").await;
}

/// Settings change without a version; code changes with one.
pub async fn new_code_is_a_new_version(world: World) {
    let function = world.a.some_function().await;
    let renamed = Function {
        name: "Renamed".into(),
        is_public: true,
        ..function.clone()
    };
    let changed = change(&world, renamed, None, false, world.in_seconds(1)).await;
    let stale = FunctionChange {
        author: None,
        declares: false,
        function: function.clone(),
        version: None,
        at: world.in_seconds(2),
    };
    assert_conflict!(world.a.store.update_function(stale).await, Changed);
    assert_eq!(
        (changed.name.as_str(), changed.is_public, changed.version),
        ("Renamed", true, 1)
    );
    assert_eq!(changed.updated_at, world.in_seconds(1));
    assert_eq!(changed.created_at, function.created_at);

    let source = code("def main(): return 2");
    let store = &world.a.store;
    let new = store.insert_version(function.id, source.clone(), world.now());
    let new = new.await.unwrap();
    assert_eq!((new.entry.number, new.entry.is_active), (2, false));
    // Stored, and not yet what runs.
    let active = store.executable(function.id).await.unwrap().unwrap();
    assert_eq!(active.version, 1);
    let waiting = store
        .executable_of(function.id, 2, Instead::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (waiting.version_id, &waiting.source),
        (new.entry.id, &source)
    );
    assert_eq!(
        store
            .executable_of(function.id, 3, Instead::default())
            .await
            .unwrap(),
        None
    );
    let nowhere = store.insert_version(FunctionId(999_999), source.clone(), world.now());
    assert_conflict!(nowhere.await, Gone);
    let missing = FunctionChange {
        author: None,
        declares: false,
        function: changed.clone(),
        version: Some(3),
        at: world.now(),
    };
    assert_conflict!(store.update_function(missing).await, Gone);

    let changed = change(&world, changed, Some(2), false, world.now()).await;
    assert_eq!(changed.version, 2);
    versions_are(&world, function.id).await;
    let executable = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((executable.version, executable.source), (2, source));
}

/// Going back takes the mode along, and the next version still gets a new number.
pub async fn an_older_version_can_be_activated(world: World) {
    let function = world.a.some_function().await;
    let store = &world.a.store;
    let second = store.insert_version(function.id, Source::System, world.now());
    assert_eq!(second.await.unwrap().entry.number, 2);
    let change = FunctionChange {
        author: None,
        declares: false,
        function: function.clone(),
        version: Some(2),
        at: world.now(),
    };
    let changed = store.update_function(change).await.unwrap();
    assert_eq!(changed.execution_mode, ExecutionMode::System);
    let at = world.in_seconds(5);
    let change = FunctionChange {
        author: None,
        declares: false,
        function: changed,
        version: Some(1),
        at,
    };
    let back = store.update_function(change).await.unwrap();
    assert_eq!((back.version, back.execution_mode), (1, ExecutionMode::App));
    assert_eq!(back.updated_at, at);
    let third = store.insert_version(function.id, code("3"), at);
    assert_eq!(third.await.unwrap().entry.number, 3);
}

/// By path, number, list, version or code.
pub async fn deleted_functions_are_found_by_nothing(world: World) {
    let function = world.a.some_function().await;
    let version = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap()
        .version_id;
    assert!(
        world
            .a
            .store
            .delete_function(function.id, world.now(), None)
            .await
            .unwrap()
    );
    assert!(
        !world
            .a
            .store
            .delete_function(function.id, world.now(), None)
            .await
            .unwrap()
    );
    let store = &world.a.store;
    assert_eq!(
        store
            .function(function.app_id, &function.slug)
            .await
            .unwrap(),
        None
    );
    assert_eq!(store.function_by_id(function.id).await.unwrap(), None);
    assert_eq!(
        store
            .list_functions(function.app_id, everything())
            .await
            .unwrap()
            .total,
        0
    );
    let versions = store.versions(function.id, everything()).await;
    assert_eq!(versions.unwrap().total, 0);
    assert_eq!(store.version(function.id, 1).await.unwrap(), None);
    assert!(store.executable(function.id).await.unwrap().is_none());
    let site = world.a.site.id;
    assert!(
        world
            .system
            .executable_version(site, version)
            .await
            .unwrap()
            .is_none()
    );
    let change = FunctionChange {
        author: None,
        declares: false,
        function: function.clone(),
        version: None,
        at: world.now(),
    };
    assert_conflict!(store.update_function(change).await, Gone);
    let ceiling = world.system.ceiling(site, function.id, None).await;
    assert_eq!(ceiling.unwrap(), None);
}

fn granted_by(user: &User, at: Timestamp) -> FunctionRights {
    FunctionRights {
        permissions: vec![Permission::UsersRead, Permission::UsersManage],
        scope: GrantScope::Site,
        acts_as: ActsAs::Function,
        granted: Some(Granted {
            by: user.id,
            by_username: Some(user.profile.username.clone()),
            at,
        }),
    }
}

/// With who declared them; of versions, only what was active since then has them.
pub async fn a_functions_rights_are_kept(world: World) {
    let ann = world.a.user("ann").await;
    let app = world.a.app("crm").await;
    let rights = granted_by(&ann, world.now());
    let new = NewFunction {
        rights: rights.clone(),
        ..world.a.new_function(app.id, "check")
    };
    let store = &world.a.store;
    let function = store.insert_function(new).await.unwrap();
    assert_eq!(function.rights, rights);
    let first = store.executable(function.id).await.unwrap().unwrap();
    assert_eq!(first.acts_as, ActsAs::Function);
    let second = store.insert_version(function.id, code("2"), world.now());
    second.await.unwrap();
    let second = store.executable_of(function.id, 2, Instead::default());
    let second = second.await.unwrap().unwrap();
    let second = second.version_id;
    let (site, id) = (world.a.site.id, function.id);
    let approved = async |version| {
        let ceiling = world.system.ceiling(site, id, version).await;
        ceiling.unwrap().unwrap().approved
    };
    let first = Some(first.version_id);
    assert!(approved(None).await && approved(first).await);
    assert!(!approved(Some(second)).await);

    // Replaced after the declaration: it was looked at.
    let change = FunctionChange {
        author: None,
        declares: false,
        function,
        version: Some(2),
        at: world.in_seconds(1),
    };
    let function = store.update_function(change).await.unwrap();
    assert!(approved(first).await && approved(Some(second)).await);

    // Declared anew, by which only what is active now is meant.
    let rights = FunctionRights {
        permissions: vec![Permission::RolesAssign],
        scope: GrantScope::App,
        acts_as: ActsAs::Caller,
        ..granted_by(&ann, world.in_seconds(2))
    };
    let change = FunctionChange {
        author: None,
        declares: true,
        function: Function {
            rights: rights.clone(),
            ..function
        },
        version: None,
        at: world.in_seconds(2),
    };
    let function = store.update_function(change).await.unwrap();
    assert_eq!(function.rights, rights);
    assert!(!approved(first).await && approved(Some(second)).await);
    let ceiling = world.system.ceiling(site, id, None).await;
    let ceiling = ceiling.unwrap().unwrap();
    assert_eq!(
        (ceiling.app, ceiling.app_slug, ceiling.slug),
        (app.id, app.slug, function.slug.clone())
    );
    assert_eq!(ceiling.rights.permissions, [Permission::RolesAssign]);
    let elsewhere = world.system.ceiling(world.b.site.id, id, None);
    assert_eq!(elsewhere.await.unwrap(), None);
}

/// Which of these versions have what the function declares.
async fn approved(world: &World, id: FunctionId, versions: &[VersionId]) -> Vec<bool> {
    let mut approved = Vec::new();
    for version in versions {
        let ceiling = world.system.ceiling(world.a.site.id, id, Some(*version));
        approved.push(ceiling.await.unwrap().unwrap().approved);
    }
    approved
}

async fn change(
    world: &World,
    function: Function,
    version: Option<u32>,
    declares: bool,
    at: Timestamp,
) -> Function {
    let change = FunctionChange {
        author: None,
        declares,
        function,
        version,
        at,
    };
    world.a.store.update_function(change).await.unwrap()
}

/// What is declared is for the version that is active with it and for later ones: by sequence, whatever
/// the clock says, and whether or not both come with one change.
pub async fn permissions_are_for_no_version_before_them(world: World) {
    let ann = world.a.user("ann").await;
    let app = world.a.app("crm").await;
    let store = &world.a.store;
    // When it was declared, when it was changed: together, the one before the other, and set back.
    for (n, (declared, changed)) in [(5, 5), (0, 9), (9, 0), (0, 0)].into_iter().enumerate() {
        let mut function = world.a.function(app.id, &format!("f{n}")).await;
        let id = function.id;
        let mut versions = vec![store.executable(id).await.unwrap().unwrap().version_id];
        for _ in 0..3 {
            let version = store.insert_version(id, code("next"), world.now());
            versions.push(version.await.unwrap().entry.id);
        }
        let approved = async || approved(&world, id, &versions).await;
        // Nothing is declared, so nothing is kept from any.
        assert_eq!(approved().await, [true; 4]);
        function.rights = granted_by(&ann, world.in_seconds(declared));
        let at = world.in_seconds(changed).after(function.updated_at);
        let function = change(&world, function, Some(2), true, at).await;
        assert_eq!(approved().await, [false, true, false, false], "{n}");
        // What follows has them, and what has been replaced since then keeps them.
        let function = change(&world, function, Some(3), false, at.after(at)).await;
        assert_eq!(approved().await, [false, true, true, false], "{n}");
        // Declared anew, with an earlier time: for what is active now only.
        let function = Function {
            rights: granted_by(&ann, Timestamp::from_micros(1)),
            ..function
        };
        let function = change(&world, function, None, true, at.after(at)).await;
        assert_eq!(approved().await, [false, false, true, false], "{n}");
        // Back to the first: somebody who holds them has decided so.
        let function = change(&world, function, Some(1), false, at.after(at)).await;
        assert_eq!(approved().await, [true, false, true, false], "{n}");
        let nothing = Function {
            rights: FunctionRights::default(),
            ..function
        };
        change(&world, nothing, None, true, at.after(at)).await;
        assert_eq!(approved().await, [true; 4], "{n}");
    }
}

/// A number names one function for ever.
pub async fn function_ids_are_not_used_again(world: World) {
    let app = world.a.app("crm").await;
    let mut last = FunctionId(0);
    for _ in 0..3 {
        let function = world.a.function(app.id, "check").await;
        assert!(function.id > last);
        last = function.id;
        world
            .a
            .store
            .delete_function(function.id, world.now(), None)
            .await
            .unwrap();
    }
}

/// Switched off: what a direct call would run is still known, what a queued run would is not.
pub async fn inactive_functions_are_executable_but_not_claimed(world: World) {
    let function = world.a.some_function().await;
    let site = world.a.site.id;
    let executable = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap();
    let version = executable.version_id;
    let found = world
        .system
        .executable_version(site, version)
        .await
        .unwrap();
    assert_eq!(found, Some(executable.clone()));
    let found = world
        .system
        .executable_version(site, VersionId(999_999))
        .await
        .unwrap();
    assert_eq!(found, None);
    let inactive = Function {
        is_active: false,
        ..function.clone()
    };
    let change = FunctionChange {
        author: None,
        declares: false,
        function: inactive,
        version: None,
        at: world.now(),
    };
    world.a.store.update_function(change).await.unwrap();
    assert_eq!(
        world.a.store.executable(function.id).await.unwrap(),
        Some(executable)
    );
    assert_eq!(
        world
            .system
            .executable_version(site, version)
            .await
            .unwrap(),
        None
    );
}

/// The secret before the last signs beside it until its time; a deleted function has none.
pub async fn signing_secrets_overlap(world: World) {
    let app = world.a.app("crm").await;
    let sealed = |byte: u8| Sealed(vec![byte; 3]);
    let proxy = NewFunction {
        execution_mode: ExecutionMode::Proxy,
        source: Source::Proxy {
            webhook_url: "https://example.com/".to_owned(),
            headers: std::collections::BTreeMap::new(),
        },
        webhook_secret: Some(sealed(1)),
        ..world.a.new_function(app.id, "proxy")
    };
    let old = NewFunction {
        webhook_secret: None,
        slug: "old".to_owned(),
        ..proxy.clone()
    };
    let (a, b) = (&world.a, &world.b);
    let proxy = a.store.insert_function(proxy).await.unwrap();
    let old = a.store.insert_function(old).await.unwrap();
    let code = a.function(app.id, "code").await;
    let until = world.in_seconds(9);
    let secrets = |site: &Tenant, id| world.system.webhook_secrets(site.site.id, id);
    let first = SealedSecrets {
        current: sealed(1),
        previous: None,
    };
    assert_eq!(secrets(a, proxy.id).await.unwrap(), Some(first));
    assert_eq!(secrets(b, proxy.id).await.unwrap(), None);
    assert_eq!(secrets(a, old.id).await.unwrap(), None);
    let rotate = |site: &Tenant, id, byte| {
        let store = Arc::clone(&site.store);
        async move {
            store
                .rotate_webhook_secret(id, sealed(byte), until)
                .await
                .unwrap()
        }
    };
    assert!(!rotate(b, proxy.id, 2).await);
    assert!(!rotate(a, code.id, 2).await, "calls no webhook");
    assert!(rotate(a, old.id, 2).await && rotate(a, proxy.id, 2).await);
    let second = SealedSecrets {
        current: sealed(2),
        previous: None,
    };
    assert_eq!(secrets(a, old.id).await.unwrap(), Some(second.clone()));
    let both = SealedSecrets {
        previous: Some((sealed(1), until)),
        ..second
    };
    assert_eq!(secrets(a, proxy.id).await.unwrap(), Some(both));
    let unchanged = a.store.function_by_id(proxy.id).await.unwrap();
    assert_eq!(unchanged, Some(proxy.clone()));
    a.store
        .delete_function(proxy.id, until, None)
        .await
        .unwrap();
    assert_eq!(secrets(a, proxy.id).await.unwrap(), None);
    assert!(!rotate(a, proxy.id, 3).await);
}

/// Two versions, the second active: newest first, and in pages.
async fn versions_are(world: &World, function: FunctionId) {
    let versions = world.a.store.versions(function, everything()).await;
    let seen: Vec<_> = versions
        .unwrap()
        .items
        .iter()
        .map(|v| (v.number, v.is_active))
        .collect();
    assert_eq!(seen, [(2, true), (1, false)]);
    let second = PageRequest {
        limit: 1,
        offset: 1,
    };
    let page = world.a.store.versions(function, second).await.unwrap();
    assert_eq!((page.items.len(), page.total), (1, 2));
    assert_eq!(page.items[0].number, 1);
}
