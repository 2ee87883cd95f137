//! Opening and closing: lock, migrate, connect, start the threads.

use crate::error::OpenError;
use crate::folder;
use crate::identities;
use crate::ids::Ids;
use crate::leases::Leases;
use crate::lock::FolderLock;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{DATABASE_FILE, migrations};
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tollgate_core::ports::store::{Reason, ScopedStore, Store, SystemStore};
use tollgate_core::site::TenantScope;
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::{Clock, SystemClock, Timestamp};

/// How long a connection waits for another process, say a `sqlite3` shell, to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps; there are fewer different ones.
const STATEMENTS: usize = 256;

/// How to open a store.
pub struct SqliteOptions {
    /// Decides what is due in the queue, whose lease is over, and which roles have expired.
    pub clock: Arc<dyn Clock>,
    /// Threads for lists.
    pub readers: usize,
    /// Watches the threads.
    pub supervisor: Supervisor,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            readers: 2,
            supervisor: Supervisor::default(),
        }
    }
}

/// What the writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterStats {
    /// Transactions committed.
    pub commits: u64,
    /// Writes within them.
    pub writes: u64,
}

/// A store in one SQLite file.
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// What every handle shares. Fields end in this order: the lock last.
pub(crate) struct Inner {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) ids: Ids,
    pub(crate) leases: Leases,
    pub(crate) clock: Arc<dyn Clock>,
    _lock: FolderLock,
}

impl Inner {
    /// The store's own time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The queries of one site.
pub(crate) struct Scoped {
    pub(crate) scope: TenantScope,
    pub(crate) inner: Arc<Inner>,
}

impl Scoped {
    pub(crate) fn site(&self) -> i64 {
        self.scope.site_id().0
    }
}

/// The queries of no site.
pub(crate) struct System {
    pub(crate) inner: Arc<Inner>,
}

impl SqliteStore {
    /// Opens the store of a data folder, which is made if it does not exist.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(data_dir: &Path, options: SqliteOptions) -> Result<Arc<Self>, OpenError> {
        let lock = FolderLock::take(data_dir)?;
        let path = create_file(data_dir)?;
        let mut connection = connect(&path)?;
        for name in migrations::apply(&mut connection, options.clock.now())? {
            tracing::info!(migration = name, "migrated the database");
        }
        let shared = identities::of(&connection)?.len();
        if shared > 0 {
            tracing::warn!(
                shared,
                "more than one user has the same name: see `tollgate doctor`"
            );
        }
        let ids = Ids::load(&connection)?;
        let writer = Writer::start(connection, Arc::clone(&options.clock), &options.supervisor)
            .map_err(OpenError::io(&path))?;
        let readers = Readers::start(path, options.readers, &options.supervisor)?;
        let clock = options.clock;
        let inner = Arc::new(Inner {
            writer,
            readers,
            ids,
            leases: Leases::default(),
            clock,
            _lock: lock,
        });
        Ok(Arc::new(Self { inner }))
    }

    /// Writes what is queued and closes the file for writing; later writes are refused. The lock
    /// ends with the last handle.
    pub fn close(&self) {
        self.inner.writer.stop();
    }

    pub(crate) fn path(&self) -> &Path {
        self.inner.readers.path()
    }

    /// What the writer has done.
    pub fn stats(&self) -> WriterStats {
        let counters = self.inner.writer.counters();
        WriterStats {
            commits: counters.commits.load(Ordering::Relaxed),
            writes: counters.writes.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn scoped(&self, scope: TenantScope) -> Arc<dyn ScopedStore> {
        Arc::new(Scoped {
            scope,
            inner: Arc::clone(&self.inner),
        })
    }

    fn system(&self, reason: Reason) -> Arc<dyn SystemStore> {
        tracing::trace!(?reason, "system store");
        Arc::new(System {
            inner: Arc::clone(&self.inner),
        })
    }
}

/// Makes the file before SQLite does, for its owner only; SQLite gives its companions the same mode.
pub(crate) fn create_file(data_dir: &Path) -> Result<PathBuf, OpenError> {
    let path = data_dir.join(DATABASE_FILE);
    drop(folder::open_private(&path)?);
    for end in ["-wal", "-shm", "-journal"] {
        folder::check_file(&data_dir.join(format!("{DATABASE_FILE}{end}")))?;
    }
    Ok(path)
}

/// The writer's connection. A commit is acknowledged only when it is on disk (`FULL`; `NORMAL`
/// would lose the latest ones at a power cut). No `mmap`: a disk error would be a signal, not an
/// error.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -32768;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

/// A reader's connection.
pub(crate) fn connect_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = create_file(folder.path()).unwrap();
        let writer = connect(&path).unwrap();
        let reader = connect_read_only(&path).unwrap();
        let read = |connection: &Connection, name: &str| {
            connection
                .query_row(&format!("SELECT * FROM pragma_{name}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
                .unwrap()
        };
        assert_eq!(read(&writer, "journal_mode"), "wal".to_owned().into());
        for (name, value) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("temp_store", 2),
            ("busy_timeout", 5000),
        ] {
            assert_eq!(read(&writer, name), value.into(), "{name}");
        }
        assert_eq!(read(&reader, "busy_timeout"), 5000.into());
        assert!(reader.is_readonly("main").unwrap());
    }
}
