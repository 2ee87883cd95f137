//! The schema's versions: applied once each, in order, under the folder's lock.
//!
//! A migration that was released must never be edited: its checksum is compared at every start.

use crate::error::{DbResult, OpenError};
use crate::identities;
use crate::lock::FolderLock;
use crate::open::{connect, create_file};
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use std::path::Path;
use tollgate_core::text::hex;
use tollgate_core::time::{Clock, SystemClock, Timestamp};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
    /// What SQL cannot do; runs after it, in the same transaction.
    then: Option<fn(&Connection) -> DbResult<()>>,
}

macro_rules! migration {
    ($version:literal, $digits:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $digits, "_", $name, ".sql")),
            then: None,
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001", "init"),
    migration!(2, "0002", "idempotency"),
    migration!(3, "0003", "dead_letters"),
    migration!(4, "0004", "verdicts"),
    migration!(5, "0005", "turns"),
    migration!(6, "0006", "secrets"),
    migration!(7, "0007", "webhooks"),
    migration!(8, "0008", "token_families"),
    migration!(9, "0009", "lines"),
    Migration {
        then: Some(identities::fill),
        ..migration!(10, "0010", "identity")
    },
    migration!(11, "0011", "permissions"),
    migration!(12, "0012", "attempts"),
    Migration {
        then: Some(identities::without_final_dots),
        ..migration!(13, "0013", "activations")
    },
    migration!(14, "0014", "requests"),
    migration!(15, "0015", "event_types"),
    migration!(16, "0016", "lists_by_time"),
    migration!(17, "0017", "variables"),
    migration!(18, "0018", "bundles"),
];

const CREATE_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// Brings the database of a data folder up to date and returns the names of what was applied.
///
/// # Errors
/// [`OpenError`], in particular when a server is running on the folder.
pub fn migrate(data_dir: &Path) -> Result<Vec<String>, OpenError> {
    let _lock = FolderLock::take(data_dir)?;
    let path = create_file(data_dir)?;
    apply(&mut connect(&path)?, SystemClock.now())
}

/// Applies what is missing, all of it or nothing.
pub(crate) fn apply(connection: &mut Connection, now: Timestamp) -> Result<Vec<String>, OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(CREATE_TABLE)?;
    let applied = applied(&transaction)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if let Some((found, _)) = applied.iter().find(|(version, _)| *version > known) {
        return Err(OpenError::Newer {
            found: *found,
            known,
        });
    }
    let mut done = Vec::new();
    for migration in MIGRATIONS {
        let checksum = hex(&Sha256::digest(migration.sql));
        match applied
            .iter()
            .find(|(version, _)| *version == migration.version)
        {
            Some((_, stored)) if *stored == checksum => {}
            Some((version, _)) => return Err(OpenError::Changed { version: *version }),
            None => {
                transaction.execute_batch(migration.sql)?;
                if let Some(then) = migration.then {
                    then(&transaction)?;
                }
                transaction.execute(
                    "INSERT INTO schema_migrations (version, name, checksum, applied_at) \
                     VALUES (?1, ?2, ?3, ?4)",
                    params![migration.version, migration.name, checksum, now.as_micros()],
                )?;
                done.push(format!("{:04}_{}", migration.version, migration.name));
            }
        }
    }
    transaction.commit()?;
    Ok(done)
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    connection
        .prepare("SELECT version, checksum FROM schema_migrations ORDER BY version DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
