//! Errors: the driver's, sorted into what the port promises.
//!
//! Nothing outside this file decides whether a driver's error means "try later" or "a bug".

use crate::folder::FolderError;
use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;
use tollgate_core::ports::store::{Conflict, StoreError};

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{} is in use by another tollgate process{}; stop it or use another --data-dir",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The process that has it, as far as it is known.
        pid: Option<u32>,
    },
    /// A file or folder cannot be made or opened.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder, or a file in it, is not this user's own.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database was made by a later release.
    #[error(
        "the database is at version {found}, and this tollgate knows versions up to {known}; \
         use the newer tollgate that made it, or another --data-dir"
    )]
    Newer {
        /// The database's version.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// A migration that was applied is not the one that this program contains.
    #[error(
        "migration {version} of the database is not the one of this program; \
         it was made by a different build, so use that one or another --data-dir"
    )]
    Changed {
        /// The migration.
        version: i64,
    },
    /// SQLite failed.
    #[error("the database cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl OpenError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// What a query's closure may fail with, before it is sorted.
#[derive(Debug)]
pub(crate) enum DbError {
    Sql(rusqlite::Error),
    Store(StoreError),
}

pub(crate) type DbResult<T> = Result<T, DbError>;

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Conflict> for DbError {
    fn from(conflict: Conflict) -> Self {
        Self::Store(StoreError::Conflict(conflict))
    }
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Store(error) => error,
            DbError::Sql(error) => sorted(error),
        }
    }
}

impl DbError {
    /// A value that cannot be turned into what the database stores. A bug.
    pub(crate) fn bug(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store(StoreError::Failed(Box::new(error)))
    }
}

/// Tells an outage from a bug.
pub(crate) fn sorted(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly,
        ) => StoreError::Unavailable(Box::new(error)),
        _ => StoreError::Failed(Box::new(error)),
    }
}

/// The store was closed, or its thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(crate) struct Closed;

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable(Box::new(Closed))
}

/// A query's closure panicked.
#[derive(Debug, thiserror::Error)]
#[error("a query panicked: {0}")]
pub(crate) struct Panicked(pub String);

/// A write touched another number of rows than it must.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {rows} rows changed instead of {expected}")]
pub(crate) struct WrongRowCount {
    pub what: &'static str,
    pub rows: usize,
    pub expected: usize,
}

/// Asserts that a write touched as many rows as it must.
pub(crate) fn ensure_rows(what: &'static str, rows: usize, expected: usize) -> DbResult<()> {
    if rows == expected {
        return Ok(());
    }
    Err(DbError::bug(WrongRowCount {
        what,
        rows,
        expected,
    }))
}
