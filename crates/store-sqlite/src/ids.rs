//! Numbers for rows that are not written yet.
//!
//! This process owns the file, so memory is enough: counting goes on after the largest number on
//! disk. Rows of these tables must never be deleted from the top without raising that floor, or a
//! number would be given out twice.

use crate::error::DbResult;
use rusqlite::Connection;
use std::sync::atomic::{AtomicI64, Ordering};
use tollgate_core::ids::{FunctionId, VersionId};
use tollgate_core::ports::store::{IdBlock, IdKind};

#[derive(Debug)]
pub(crate) struct Ids {
    users: AtomicI64,
    invocations: AtomicI64,
    functions: AtomicI64,
    versions: AtomicI64,
}

impl Ids {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let next = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get(0))
                .map(AtomicI64::new)
        };
        Ok(Self {
            users: next("SELECT COALESCE(MAX(id), 0) + 1 FROM users")?,
            invocations: next("SELECT COALESCE(MAX(id), 0) + 1 FROM invocations")?,
            functions: next("SELECT COALESCE(MAX(id), 0) + 1 FROM functions")?,
            versions: next("SELECT COALESCE(MAX(id), 0) + 1 FROM function_versions")?,
        })
    }

    pub(crate) fn reserve(&self, kind: IdKind, count: u32) -> IdBlock {
        let counter = match kind {
            IdKind::User => &self.users,
            IdKind::Invocation => &self.invocations,
            IdKind::Function => &self.functions,
            IdKind::Version => &self.versions,
        };
        let start = counter.fetch_add(i64::from(count), Ordering::Relaxed);
        start..start + i64::from(count)
    }
}

impl Ids {
    /// A number for a new version.
    pub(crate) fn version(&self) -> VersionId {
        VersionId(self.reserve(IdKind::Version, 1).start)
    }

    /// Numbers for a new function and its first version.
    pub(crate) fn function(&self) -> (FunctionId, VersionId) {
        let id = self.reserve(IdKind::Function, 1).start;
        (FunctionId(id), self.version())
    }
}

/// The number of the row that the last statement inserted.
pub(crate) fn inserted(connection: &Connection) -> DbResult<i64> {
    Ok(connection.last_insert_rowid())
}
