//! What a database of an earlier version holds of names, and what becomes of it.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use rusqlite::params;
use std::path::Path;
use std::sync::Arc;
use tollgate_core::ids::{SiteId, UserId};
use tollgate_core::ports::store::{Conflict, Reason, ScopedStore, Store, StoreError, UserChange};
use tollgate_core::site::Authority;
use tollgate_core::users::User;
use tollgate_store_sqlite::{SharedName, SqliteOptions, SqliteStore, shared_names};
use tollgate_testkit::store_contract::{Alone, UserCommit};

/// Number, username, address, deleted.
const PEOPLE: [(i64, &str, &str, bool); 13] = [
    (1, "alice", "alice@example.com", false),
    // The same name in other letters.
    (2, "ａｌｉｃｅ", "alice2@example.com", false),
    // Somebody's address is this one's username, and the other way round.
    (3, "bob@example.com", "robert@example.com", false),
    (4, "bob", "bob@example.com", false),
    (5, "carol", "alice", false),
    // Addresses: case beyond ASCII, what nobody sees, a domain in two spellings.
    (6, "straße", "a@bücher.example", false),
    (7, "STRASSE", "a@xn--bcher-kva.example", false),
    (8, "dan", "dan@example.com", false),
    (9, "dan2", "dan\u{200b}@example.com", false),
    // One's own address as one's own username, and names that only need their kept form.
    (10, "eve@example.com", "eve@EXAMPLE.com", false),
    (11, "ﬁona", "F@BLOCKED.example", false),
    // Who is deleted has no name any more.
    (12, "alice", "alice@example.com", true),
    (13, "ghost", "ghost@example.com", true),
];

/// A database as the version before left it.
fn old_database(folder: &Path) {
    let connection = support::database_at(folder, 9);
    for (id, username, email, is_deleted) in PEOPLE {
        let key = |text: &str| text.to_lowercase();
        let mut uuid = [0_u8; 16];
        uuid[0] = u8::try_from(id).unwrap();
        let values = params![
            id,
            uuid,
            username,
            key(username),
            email,
            key(email),
            is_deleted
        ];
        let insert = "
            INSERT INTO users (id, site_id, uuid, username, username_key, email, email_key,
                first_name, last_name, name_key, is_active, is_staff, is_superuser, is_deleted,
                date_joined, created_at, updated_at, revision, attributes)
            VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, '', '', '', 1, 0, 0, ?7, 0, 0, 0, 1, '{}')";
        connection.execute(insert, values).unwrap();
    }
}

fn opened(folder: &Path) -> (Arc<SqliteStore>, Arc<dyn ScopedStore>) {
    let store = SqliteStore::open(folder, SqliteOptions::default()).unwrap();
    let scoped = store.scoped(Authority::of_this_program().scope(SiteId(1)));
    (store, scoped)
}

async fn holder(store: &dyn ScopedStore, name: &str) -> Option<i64> {
    let user = store.user_by_name(name).await.unwrap();
    user.map(|user| user.id.0)
}

async fn user(store: &dyn ScopedStore, id: i64) -> User {
    store.user(UserId(id)).await.unwrap().unwrap()
}

async fn write(store: &dyn ScopedStore, change: UserChange) -> Result<(), StoreError> {
    let commit = UserCommit {
        author: None,
        change,
        completions: Vec::new(),
        invocations: Vec::new(),
        remember: None,
    };
    store.commit_user(commit, Box::new(|| {})).await
}

async fn change(
    store: &dyn ScopedStore,
    id: i64,
    change: impl FnOnce(&mut User),
) -> Result<(), StoreError> {
    let mut user = user(store, id).await;
    user.revision += 1;
    change(&mut user);
    let change = if user.is_deleted {
        UserChange::Delete {
            user: Box::new(user),
        }
    } else {
        UserChange::Update {
            user: Box::new(user),
            password_hash: None,
        }
    };
    write(store, change).await
}

fn shared(folder: &Path) -> Vec<(i64, String, i64)> {
    let names = shared_names(folder).unwrap();
    let short = |it: SharedName| (it.user_id, it.kind, it.holder_id);
    names.into_iter().map(short).collect()
}

#[tokio::test]
async fn a_name_that_several_users_have_stays_with_one_and_the_others_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    old_database(folder.path());
    let (opened, store) = opened(folder.path());
    for (name, expected) in [
        ("alice", Some(1)),
        ("ＡＬＩＣＥ", Some(1)),
        ("alice2@example.com", Some(2)),
        ("bob@example.com", Some(3)),
        ("BOB", Some(4)),
        ("carol", Some(5)),
        ("strasse", Some(6)),
        ("a@bücher.example", Some(6)),
        ("a@XN--bcher-kva.example", Some(6)),
        ("dan@example.com", Some(8)),
        ("dan2", Some(9)),
        ("eve@example.com", Some(10)),
        ("fiona", Some(11)),
        ("ghost", None),
    ] {
        assert_eq!(holder(&*store, name).await, expected, "{name}");
        let system = opened.system(Reason::Authenticate);
        let login = system.login_record(SiteId(1), name).await.unwrap();
        assert_eq!(login.map(|it| it.user.id.0), expected, "{name}");
    }
    let expected = [
        (2, "username", 1),
        (4, "email", 3),
        (5, "email", 1),
        (7, "email", 6),
        (7, "username", 6),
        (9, "email", 8),
    ];
    let expected = expected.map(|(user, kind, holder)| (user, kind.to_owned(), holder));
    assert_eq!(shared(folder.path()), expected);

    // What is nobody else's is in its kept form, the rest as it was.
    let profile = user(&*store, 11).await.profile;
    assert_eq!(profile.username, "fiona");
    assert_eq!(profile.email, "F@blocked.example");
    assert_eq!(user(&*store, 2).await.profile.username, "ａｌｉｃｅ");
    drop((store, opened));
    let (_opened, store) = self::opened(folder.path());
    assert_eq!(holder(&*store, "alice").await, Some(1));
}

#[tokio::test]
async fn who_shares_a_name_may_change_anything_else_and_the_name_itself() {
    let folder = tempfile::tempdir().unwrap();
    old_database(folder.path());
    let (_opened, store) = opened(folder.path());
    let before = shared(folder.path());
    change(&*store, 2, |user| user.profile.first_name = "A".into())
        .await
        .unwrap();
    assert_eq!(shared(folder.path()), before);
    // To another one's name: no.
    let taken = change(&*store, 2, |user| user.profile.username = "BOB".into()).await;
    assert!(
        matches!(taken, Err(StoreError::Conflict(Conflict::Username))),
        "{taken:?}"
    );
    change(&*store, 2, |user| {
        user.profile.username = "alice.two".into()
    })
    .await
    .unwrap();
    assert_eq!(holder(&*store, "alice.two").await, Some(2));
    assert_eq!(holder(&*store, "alice").await, Some(1));
    assert!(shared(folder.path()).iter().all(|(user, ..)| *user != 2));
}

#[tokio::test]
async fn a_name_that_becomes_free_goes_to_whoever_shared_it() {
    let folder = tempfile::tempdir().unwrap();
    old_database(folder.path());
    let (_opened, store) = opened(folder.path());
    // As a username before as an address.
    change(&*store, 1, |user| user.profile.username = "alicia".into())
        .await
        .unwrap();
    assert_eq!(holder(&*store, "alice").await, Some(2));
    change(&*store, 2, |user| user.is_deleted = true)
        .await
        .unwrap();
    assert_eq!(holder(&*store, "alice").await, Some(5));
    change(&*store, 5, |user| user.is_deleted = true)
        .await
        .unwrap();
    assert_eq!(holder(&*store, "alice").await, None);
    assert!(
        shared(folder.path())
            .iter()
            .all(|(user, ..)| ![1, 2, 5].contains(user))
    );
    store
        .check_user_is_free("alice", "ALICE", None)
        .await
        .unwrap();
}

/// Keys of domains with a final dot, as the version before the last one made them.
#[tokio::test]
async fn a_domain_with_a_final_dot_names_whoever_has_it_without() {
    let folder = tempfile::tempdir().unwrap();
    let old = support::database_at(folder.path(), 12);
    for (id, username, email) in [
        (1, "ann@corp.example.", "ann@other.example"),
        (2, "bob", "bob@corp.example"),
        (3, "bob@corp.example.", "rob@corp.example"),
        (4, "carol@corp.example..", "carol@corp.example"),
        (5, "dot.", "dot@corp.example"),
    ] {
        let mut uuid = [0_u8; 16];
        uuid[0] = u8::try_from(id).unwrap();
        let insert = "
            INSERT INTO users (id, site_id, uuid, username, username_key, email, email_key,
                first_name, last_name, name_key, is_active, is_staff, is_superuser, is_deleted,
                date_joined, created_at, updated_at, revision, attributes)
            VALUES (?1, 1, ?2, ?3, ?3, ?4, ?4, '', '', '', 1, 0, 0, 0, 0, 0, 0, 1, '{}')";
        old.execute(insert, params![id, uuid, username, email])
            .unwrap();
        for name in [username, email] {
            let insert = "INSERT INTO identities (site_id, key, user_id) VALUES (1, ?1, ?2)";
            old.execute(insert, params![name, id]).unwrap();
        }
    }
    drop(old);
    let (_opened, store) = opened(folder.path());
    for (name, expected) in [
        ("ann@corp.example", Some(1)),
        ("ann@corp.example.", Some(1)),
        ("bob@corp.example", Some(2)),
        ("bob@corp.example.", Some(2)),
        ("rob@corp.example.", Some(3)),
        ("carol@corp.example..", Some(4)),
        ("carol@corp.example.", Some(4)),
        ("dot.", Some(5)),
        ("dot", None),
    ] {
        assert_eq!(holder(&*store, name).await, expected, "{name}");
    }
    assert_eq!(shared(folder.path()), [(3, "username".to_owned(), 2)]);
    // Nobody else comes by it.
    let taken = store.check_user_is_free("ann@corp.example", "x@corp.example", None);
    assert!(matches!(
        taken.await,
        Err(StoreError::Conflict(Conflict::Username))
    ));
}
