//! The lock on a data folder: two processes with one writer each would break every promise.
//!
//! The lock is the operating system's and ends with the process, so it is never left behind. The
//! file's content, the process's number, is for the message only.

use crate::LOCK_FILE;
use crate::error::OpenError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Held as long as the store is open.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

impl FolderLock {
    /// Makes the folder, for its owner only, and locks it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(OpenError::io(data_dir))?;
        let path = data_dir.join(LOCK_FILE);
        let mut file = private(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: without a number it is still true.
                let _ = file.read_to_string(&mut text);
                return Err(OpenError::InUse {
                    path: data_dir.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(OpenError::io(path))?;
        Ok(Self(file))
    }
}

/// Opens or makes a file that only its owner may read.
pub(crate) fn private(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(OpenError::io(path))
}
