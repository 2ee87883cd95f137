//! Folders on disk that functions have written to: emptied whatever is in them.
//!
//! It must never follow a link, and its depth must not depend on theirs: a function can nest folders
//! deeper than any stack. So each folder inside is moved to the top, and emptied there.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Removes a folder with all that is in it. Nobody else may be writing to it any more.
///
/// # Errors
/// What cannot be removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Its owner may have closed it to itself.
    let _ = std::fs::symlink_metadata(folder)
        .map(|found| found.is_dir() && rustix::fs::chmod(folder, Mode::RWXU).is_ok());
    let top = match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
        Ok(top) => top,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    empty(&top)?;
    rustix::fs::unlinkat(CWD, folder, AtFlags::REMOVEDIR)?;
    Ok(())
}

/// Removes what is in a folder.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        let mut inside = Vec::new();
        unlink_files(top.as_fd(), &mut inside)?;
        if inside.is_empty() {
            return Ok(());
        }
        for name in inside {
            let folder = open(top.as_fd(), &name)?;
            let mut deeper = Vec::new();
            unlink_files(folder.as_fd(), &mut deeper)?;
            for name in deeper {
                // Writable for its owner, or it cannot be moved.
                drop(open(folder.as_fd(), &name)?);
                lift(folder.as_fd(), &name, top.as_fd(), &mut moved)?;
            }
            rustix::fs::unlinkat(top, &*name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Moves a folder to the top, under a name that nothing has there.
fn lift(
    around: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        *moved += 1;
        let place = format!("moved-{moved}");
        match rustix::fs::renameat(around, name, top, place) {
            Err(
                rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY | rustix::io::Errno::NOTDIR,
            ) => {}
            done => return Ok(done?),
        }
    }
}

/// Opens a folder inside another, readable and writable.
fn open(around: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // It is no link: nobody is left who could have put one in its place.
    rustix::fs::chmodat(around, name, Mode::RWXU, AtFlags::empty())?;
    Ok(rustix::fs::openat(around, name, flags, Mode::empty())?)
}

/// Removes all but folders from a folder, and names those.
fn unlink_files(folder: BorrowedFd<'_>, inside: &mut Vec<std::ffi::CString>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            inside.push(name.to_owned());
        } else {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn whatever_a_function_left_is_removed_and_nothing_else() {
        let around = tempfile::tempdir().unwrap();
        let kept = around.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("canary"), "canary").unwrap();
        let folder = around.path().join("scratch");
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::write(folder.join("a/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, folder.join("a/b/link")).unwrap();
        std::os::unix::fs::symlink(&kept, folder.join("link")).unwrap();
        let closed = folder.join("a/closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        assert_eq!(fs::read_to_string(kept.join("canary")).unwrap(), "canary");
        remove(&folder).unwrap();
    }

    #[test]
    fn a_tree_deeper_than_any_stack_is_removed() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("scratch");
        fs::create_dir(&folder).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at = rustix::fs::open(&folder, flags, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        drop(at);
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }
}
