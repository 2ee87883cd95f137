//! The lock on a data folder: two processes with one writer each would break every promise.
//!
//! The lock is the operating system's and ends with the process, so it is never left behind. The
//! file's content, the process's number, is for the message only.

use crate::LOCK_FILE;
use crate::error::OpenError;
use crate::folder;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Held as long as the store is open.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

impl FolderLock {
    /// Makes the folder, for its owner only, and locks it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        folder::secure(data_dir)?;
        let path = data_dir.join(LOCK_FILE);
        let mut file = folder::open_private(&path)?;
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
