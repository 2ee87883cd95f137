//! Tollgate's store on SQLite: one process, one file, one writer.
//!
//! All writes go through one thread that commits many of them at once; reads have connections of
//! their own. This crate must never decide anything: what may follow what is `tollgate-core`'s
//! business, and a query here only guards on what core has decided it upon.

mod apps;
mod attempts;
mod author;
mod backup;
mod bundles;
mod claims;
mod credentials;
mod dead_letters;
mod error;
mod event_types;
pub mod folder;
mod functions;
mod grants;
mod idempotency;
mod identities;
mod ids;
mod invocations;
mod leases;
mod listing;
mod lock;
mod migrations;
mod open;
mod queue;
mod readers;
mod retention;
mod rows;
mod secrets;
mod subscribers;
mod system;
mod user_change;
mod users;
mod work;
mod writer;

pub use backup::BackupError;
pub use error::OpenError;
pub use identities::{SharedName, shared_names};
pub use migrations::migrate;
pub use open::{SqliteOptions, SqliteStore, WriterStats};
pub use work::host_change;

/// The database's file within the data folder.
pub const DATABASE_FILE: &str = "tollgate.db";
/// The lock's file within the data folder.
pub const LOCK_FILE: &str = "tollgate.lock";
