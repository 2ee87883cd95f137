//! What is SQLite's own: files, lock, migrations, settings, persistence.

use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tollgate_core::ids::SiteId;
use tollgate_core::ports::store::{IdKind, Reason, Store, StoreError};
use tollgate_core::site::Authority;
use tollgate_core::tasks::{State, Waiter};
use tollgate_store_sqlite::{DATABASE_FILE, OpenError, SqliteOptions, SqliteStore, migrate};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::store_contract::{TestStore, World};

fn open(folder: &Path) -> Result<Arc<SqliteStore>, OpenError> {
    SqliteStore::open(folder, SqliteOptions::default())
}

fn raw(folder: &Path) -> Connection {
    Connection::open(folder.join(DATABASE_FILE)).expect("the database opens")
}

async fn world(folder: &Path) -> World {
    World::new(&async |clock: Arc<ManualClock>| {
        let options = SqliteOptions {
            clock,
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(folder, options).expect("the store opens");
        TestStore {
            store: store as Arc<dyn Store>,
            keep: Box::new(()),
        }
    })
    .await
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let first = world(folder.path()).await;
    let function = first.a.some_function().await;
    let user = first.a.user("ann").await;
    let run = first.a.run(&function, Waiter::Caller, Some("old")).await;
    let site = first.a.site.id;
    drop(first);

    let store = open(folder.path()).unwrap();
    let system = store.system(Reason::Administer);
    let scoped = store.scoped(Authority::of_this_program().scope(site));
    assert_eq!(scoped.user(user.id).await.unwrap(), Some(user.clone()));
    assert_eq!(
        scoped.function_by_id(function.id).await.unwrap(),
        Some(function)
    );
    let ids = system.reserve_ids(IdKind::User, 1).await.unwrap();
    assert_eq!(ids.start, user.id.0 + 1);
    let ids = system.reserve_ids(IdKind::Invocation, 5).await.unwrap();
    assert_eq!(ids.start, run.id.0 + 1);
    // No lease outlives its process.
    let rescued = system.rescue().await.unwrap();
    assert_eq!(rescued.cancelled, 1);
    let record = scoped.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(record.state, State::Cancelled);
}

#[test]
fn a_second_opening_is_refused_and_names_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for error in [
        open(folder.path()).unwrap_err(),
        migrate(folder.path()).unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            format!(
                "{} is in use by another tollgate process (pid {}); stop it or use another \
                 --data-dir",
                folder.path().display(),
                std::process::id()
            )
        );
    }
    drop(store);
    open(folder.path()).unwrap();
}

#[test]
fn a_closed_store_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.close();
    store.close();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let result = runtime.block_on(store.system(Reason::Administer).ping());
    assert!(matches!(result, Err(StoreError::Unavailable(_))));
}

#[test]
fn files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new").join("data");
    let store = open(&data).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 3, "lock, database and log");
    drop(store);
}

#[test]
fn migrations_are_applied_once_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let applied = migrate(folder.path()).unwrap();
    assert_eq!(applied[0], "0001_init");
    assert!(applied.is_sorted(), "{applied:?}");
    assert_eq!(migrate(folder.path()).unwrap(), [""; 0]);
    drop(open(folder.path()).unwrap());
    let recorded: (i64, String, i64) = raw(folder.path())
        .query_row(
            "SELECT version, name, length(checksum) FROM schema_migrations ORDER BY version",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(recorded, (1, "init".to_owned(), 64));
}

#[test]
fn a_newer_or_different_database_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    migrate(folder.path()).unwrap();
    let change = |sql: &str| raw(folder.path()).execute_batch(sql).unwrap();
    change("INSERT INTO schema_migrations VALUES (999, 'later', '', 0)");
    let error = open(folder.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("version 999"), "{error}");
    change("DELETE FROM schema_migrations WHERE version = 999");
    change("UPDATE schema_migrations SET checksum = 'other'");
    let error = open(folder.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Changed { version: 1 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_value_is_named_where_it_is_shown_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let function = world.a.some_function().await;
    let connection = raw(folder.path());
    connection
        .execute(
            "UPDATE functions SET execution_mode = 'magic', permissions = '[\"all\"]'",
            [],
        )
        .unwrap();
    // What is only shown hides nothing else; what would run is not guessed at.
    let shown = world.a.store.function_by_id(function.id).await;
    let shown = shown.unwrap().unwrap();
    assert_eq!(shown.damaged, ["execution_mode", "permissions"]);
    assert_eq!(
        (shown.slug, shown.rights.permissions),
        (function.slug, vec![])
    );
    connection
        .execute("UPDATE function_versions SET source = '{'", [])
        .unwrap();
    let version = world.a.store.version(function.id, 1).await;
    assert_eq!(version.unwrap().unwrap().entry.damaged, ["source"]);
    match world.a.store.executable(function.id).await {
        Err(StoreError::Corrupt {
            table: "function_versions",
            column: "source",
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn commits_are_shared() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let system = store.system(Reason::Administer);
    let before = store.stats();
    let pings = (0..2000).map(|_| system.ping());
    for result in futures_util::future::join_all(pings).await {
        result.unwrap();
    }
    let after = store.stats();
    assert_eq!(after.writes - before.writes, 2000);
    assert!(after.commits - before.commits <= 200, "{after:?}");
}

#[tokio::test]
async fn an_unknown_site_takes_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let scoped = store.scoped(Authority::of_this_program().scope(SiteId(77)));
    let app = tollgate_core::ports::store::NewApp {
        name: "x".into(),
        slug: "x".into(),
        description: String::new(),
        variables: tollgate_core::functions::Variables::default(),
        created_at: tollgate_core::time::Timestamp::from_micros(0),
        remember: None,
    };
    assert!(matches!(
        scoped.insert_app(app).await,
        Err(StoreError::Failed(_))
    ));
    store.system(Reason::Administer).ping().await.unwrap();
}

fn attempts(folder: &Path) -> i64 {
    let sql = "SELECT COUNT(*) FROM attempts";
    let counted = raw(folder).query_row(sql, [], |row| row.get(0));
    counted.expect("rows can be counted")
}

/// Nothing is paid for what most runs do not need, and nothing is left of a run that is gone.
#[tokio::test]
async fn attempts_cost_a_first_success_nothing_and_go_with_their_run() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let function = world.a.some_function().await;
    let complete = async |end| {
        let written = world.system.complete(vec![end]).await;
        assert_eq!(written.unwrap(), [true]);
    };
    for state in [
        State::Succeeded,
        State::Failed,
        State::Dead,
        State::Cancelled,
    ] {
        let run = world.a.run(&function, Waiter::Nobody, Some("me")).await;
        complete(world.a.end(&run, 1, state)).await;
        assert_eq!(attempts(folder.path()), 0, "{state}");
    }
    let run = world.a.run(&function, Waiter::Nobody, Some("me")).await;
    complete(world.a.end(&run, 1, State::Retrying)).await;
    world.claim("me", 1).await.unwrap();
    complete(world.a.end(&run, 2, State::Dead)).await;
    assert_eq!(attempts(folder.path()), 1);
    let discarded = world.a.store.discard(run.id, world.now()).await;
    assert!(discarded.unwrap());
    // The newest record stays.
    world.a.run(&function, Waiter::Nobody, None).await;
    let later = world.in_seconds(365 * 24 * 3600);
    let retention = tollgate_core::invocations::retention::Retention::default();
    let swept = world
        .system
        .sweep_invocations(None, 100, retention, later)
        .await;
    assert!(swept.unwrap().deleted >= 4);
    assert!(world.a.store.invocation(run.id).await.unwrap().is_none());
    assert_eq!(attempts(folder.path()), 0);
}
