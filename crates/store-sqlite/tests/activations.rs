//! Which versions have a function's permissions, in a database that went by the clock until now.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use tollgate_core::ids::{FunctionId, SiteId, VersionId};
use tollgate_core::ports::store::{Reason, Store as _};
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};

/// Function, the moment of its declaration, its active version, and of each version the moment at which
/// it was replaced and whether it has the permissions.
type Found = (i64, Option<i64>, i64, &'static [(i64, Option<i64>, bool)]);

const FOUND: [Found; 4] = [
    // Never declared: nothing is kept from any.
    (1, None, 2, &[(1, Some(5), true), (2, None, true)]),
    (2, Some(10), 1, &[(1, None, true)]),
    // Replaced before, at the moment of, and after the declaration; active; never active.
    (
        3,
        Some(10),
        4,
        &[
            (1, Some(9), false),
            (2, Some(10), false),
            (3, Some(11), true),
            (4, None, true),
            (5, None, false),
        ],
    ),
    // Active again after it had been replaced.
    (4, Some(10), 1, &[(1, Some(9), true), (2, Some(12), true)]),
];

#[tokio::test]
async fn what_had_the_permissions_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let old = support::database_at(folder.path(), 12);
    old.execute_batch(
        "INSERT INTO apps (id, site_id, name, slug, description, created_at, updated_at)
            VALUES (1, 1, 'a', 'a', '', 0, 0)",
    )
    .unwrap();
    let version_id = |function: i64, number: i64| function * 100 + number;
    for (function, declared, active, versions) in FOUND {
        let insert = "
            INSERT INTO functions (id, site_id, app_id, name, slug, description, execution_mode,
                environment, is_active, is_public, async_mode, version, options, created_at,
                updated_at, permissions, granted_by, granted_at)
            VALUES (?1, 1, 1, 'f', 'f' || ?1, '', 'system', 'python', 1, 0, 0, ?2, '{}', 0, 0,
                '[\"users.read\"]', iif(?3 IS NULL, NULL, 1), ?3)";
        old.execute(insert, (function, active, declared)).unwrap();
        for (number, retired, _) in versions {
            let insert = "
                INSERT INTO function_versions (id, site_id, function_id, number, source, created_at,
                    retired_at)
                VALUES (?1, 1, ?2, ?3, '{}', 0, ?4)";
            let id = version_id(function, *number);
            old.execute(insert, (id, function, number, retired))
                .unwrap();
        }
    }
    drop(old);
    let store = SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap();
    let system = store.system(Reason::Execute);
    for (function, _, _, versions) in FOUND {
        let (site, id) = (SiteId(1), FunctionId(function));
        for (number, _, approved) in versions {
            let version = Some(VersionId(version_id(function, *number)));
            let ceiling = system.ceiling(site, id, version).await.unwrap().unwrap();
            assert_eq!(ceiling.approved, *approved, "{function} {number}");
        }
        let active = system.ceiling(site, id, None).await.unwrap().unwrap();
        assert!(active.approved, "{function}");
    }
}
