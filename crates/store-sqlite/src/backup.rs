//! A copy of the database while it is in use.
//!
//! The copy is one moment's: everything that was acknowledged before it began, and nothing of what came after. It must
//! never be left behind under its name unless it was checked.

use crate::folder::{FolderError, create_private, sync_folder};
use crate::open::{SqliteStore, connect_read_only};
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Its file cannot be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// SQLite failed, for example because the disk is full.
    #[error("the database cannot be copied: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The copy is not whole.
    #[error("the copy does not hold: {0}; look after the disk, and after the database itself")]
    Damaged(String),
}

impl SqliteStore {
    /// Copies the database into a new file, checks the copy, and makes it durable. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`BackupError`]. Nothing is left behind then.
    pub fn back_up(&self, into: &Path) -> Result<(), BackupError> {
        if fs::symlink_metadata(into).is_ok() {
            let (path, source) = (into.to_owned(), std::io::ErrorKind::AlreadyExists.into());
            return Err(FolderError::Io { path, source }.into());
        }
        let mut partial = into.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        drop(create_private(&partial)?);
        let copied = copy(self.path(), &partial, into);
        if copied.is_err() {
            // The error that is told is the one before.
            let _ = fs::remove_file(&partial);
        }
        copied
    }
}

fn copy(database: &Path, partial: &Path, into: &Path) -> Result<(), BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| BackupError::Folder(FolderError::Io { path, source })
    };
    // One read transaction: writers go on meanwhile.
    let name = partial.to_string_lossy().into_owned();
    connect_read_only(database)?.execute("VACUUM INTO ?1", [name])?;
    check(partial)?;
    fs::File::open(partial)
        .and_then(|copy| copy.sync_all())
        .map_err(failed(partial))?;
    fs::rename(partial, into).map_err(failed(into))?;
    Ok(sync_folder(into.parent().unwrap_or(Path::new(".")))?)
}

/// Reads all of a copy.
fn check(copy: &Path) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags)?;
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(BackupError::Damaged(found));
    }
    let mut dangling = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = dangling.query([])?;
    if let Some(row) = rows.next()? {
        let table: String = row.get(0)?;
        return Err(BackupError::Damaged(format!(
            "a row of {table} refers to nothing"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DATABASE_FILE, SqliteOptions};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_copy_is_whole_private_and_usable() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let copy = other.path().join(DATABASE_FILE);
        store.back_up(&copy).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o600);
        let names: Vec<_> = fs::read_dir(other.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let error = store.back_up(&copy).unwrap_err().to_string();
        assert!(error.contains("exists"), "{error}");
        SqliteStore::open(other.path(), SqliteOptions::default())
            .unwrap()
            .close();
        store.close();
    }

    #[test]
    fn a_damaged_copy_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap();
        let copy = folder.path().join("copy.db");
        store.back_up(&copy).unwrap();
        let mut bytes = fs::read(&copy).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0xa5);
        fs::write(&copy, bytes).unwrap();
        assert!(check(&copy).is_err());
        store.close();
    }
}
