//! Databases as earlier versions of the program left them.

use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tollgate_core::text::hex;
use tollgate_store_sqlite::DATABASE_FILE;

const MIGRATIONS: [(&str, &str); 12] = [
    ("init", include_str!("../../migrations/0001_init.sql")),
    (
        "idempotency",
        include_str!("../../migrations/0002_idempotency.sql"),
    ),
    (
        "dead_letters",
        include_str!("../../migrations/0003_dead_letters.sql"),
    ),
    (
        "verdicts",
        include_str!("../../migrations/0004_verdicts.sql"),
    ),
    ("turns", include_str!("../../migrations/0005_turns.sql")),
    ("secrets", include_str!("../../migrations/0006_secrets.sql")),
    (
        "webhooks",
        include_str!("../../migrations/0007_webhooks.sql"),
    ),
    (
        "token_families",
        include_str!("../../migrations/0008_token_families.sql"),
    ),
    ("lines", include_str!("../../migrations/0009_lines.sql")),
    (
        "identity",
        include_str!("../../migrations/0010_identity.sql"),
    ),
    (
        "permissions",
        include_str!("../../migrations/0011_permissions.sql"),
    ),
    (
        "attempts",
        include_str!("../../migrations/0012_attempts.sql"),
    ),
];

/// A database with one site that has come as far as migration `version`.
pub(crate) fn database_at(folder: &Path, version: usize) -> Connection {
    let connection = Connection::open(folder.join(DATABASE_FILE)).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,
                checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
        )
        .unwrap();
    for (version, (name, sql)) in (1..).zip(&MIGRATIONS[..version]) {
        connection.execute_batch(sql).unwrap();
        let values = params![version, name, hex(&Sha256::digest(sql))];
        let insert = "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, 0)";
        connection.execute(insert, values).unwrap();
    }
    let site = "INSERT INTO sites (slug, name, created_at) VALUES ('default', 'default', 0)";
    connection.execute(site, []).unwrap();
    connection
}
