//! How much memory the files of one worker take, where its folder lies among others' on one file system
//! in memory.
//!
//! The folder belongs to hostile code: a look follows no link, and what it costs is bounded. Whoever keeps
//! it from looking, or has more than is looked at, is charged with all that lies there.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// `f_type` of a file system in memory.
const TMPFS: u64 = 0x0102_1994;
/// As long as all have no more than this together, it is not looked whose it is.
const LITTLE_BYTES: u64 = 1 << 20;
/// What is looked at of one worker: some milliseconds.
const ENTRIES_MAX: usize = 2048;
const DEPTH_MAX: usize = 32;
/// A block of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// Where a process sees a path.
fn seen_by(pid: u32, path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    Path::new("/proc")
        .join(pid.to_string())
        .join("root")
        .join(path)
}

/// Bytes of files in memory at `place`, as the process sees it; 0 where that lies on disk.
pub(super) fn in_memory(pid: u32, place: &Path) -> u64 {
    let Ok(system) = rustix::fs::statfs(seen_by(pid, place)) else {
        return 0;
    };
    if u64::try_from(system.f_type).unwrap_or(0) != TMPFS {
        return 0;
    }
    let used = system.f_blocks.saturating_sub(system.f_bfree);
    used.saturating_mul(u64::try_from(system.f_bsize).unwrap_or(0))
}

/// Those of one process: below its folder, and what it has removed and holds open.
pub(super) fn of_process(pid: u32, folder: &Path) -> u64 {
    // Of the place around it: the folder may be closed to us.
    let all = in_memory(pid, folder.parent().unwrap_or(folder));
    if all <= LITTLE_BYTES {
        return 0;
    }
    let mut look = Look::default();
    let looked = look
        .at_folder(&seen_by(pid, folder))
        .and_then(|()| look.at_open_files(pid));
    match looked {
        Ok(()) => look.bytes.min(all),
        Err(Hidden) => all,
    }
}

/// Something could not be looked at, though it is there.
struct Hidden;

/// What was found so far.
#[derive(Default)]
struct Look {
    bytes: u64,
    entries: usize,
    device: Option<u64>,
}

impl Look {
    fn at_folder(&mut self, folder: &Path) -> Result<(), Hidden> {
        let Some(top) = there(open(CWD, folder))? else {
            return Ok(());
        };
        self.device = rustix::fs::fstat(&top).ok().map(|it| it.st_dev);
        // Folders that are still to be looked at, each with the one around it.
        let mut ahead: Vec<(Rc<OwnedFd>, CString, usize)> = Vec::new();
        self.at_entries(&Rc::new(top), 0, &mut ahead)?;
        while let Some((around, name, depth)) = ahead.pop() {
            if depth > DEPTH_MAX {
                return Err(Hidden);
            }
            if let Some(inside) = there(open(around.as_fd(), &*name))? {
                self.at_entries(&Rc::new(inside), depth, &mut ahead)?;
            }
        }
        Ok(())
    }

    fn at_entries(
        &mut self,
        folder: &Rc<OwnedFd>,
        depth: usize,
        ahead: &mut Vec<(Rc<OwnedFd>, CString, usize)>,
    ) -> Result<(), Hidden> {
        let Some(entries) = there(Dir::read_from(&**folder))? else {
            return Ok(());
        };
        for entry in entries {
            let Some(entry) = there(entry)? else {
                return Ok(());
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(Hidden);
            }
            let found = rustix::fs::statat(&**folder, name, AtFlags::SYMLINK_NOFOLLOW);
            let Some(found) = there(found)? else {
                continue;
            };
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                ahead.push((Rc::clone(folder), name.to_owned(), depth + 1));
            } else {
                self.bytes += share(&found);
            }
        }
        Ok(())
    }

    /// What has no name any more.
    fn at_open_files(&mut self, pid: u32) -> Result<(), Hidden> {
        let open = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => open,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Hidden);
            }
            // It has ended.
            Err(_) => return Ok(()),
        };
        let mut seen = HashSet::new();
        for file in open.flatten() {
            let Ok(file) = fs::metadata(file.path()) else {
                continue;
            };
            let removed = file.nlink() == 0 && Some(file.dev()) == self.device;
            if removed && seen.insert(file.ino()) {
                self.bytes += file.blocks() * BLOCK_BYTES;
            }
        }
        Ok(())
    }
}

/// A file's bytes, divided among its names.
#[allow(
    clippy::useless_conversion,
    reason = "how wide the count is differs between architectures"
)]
fn share(file: &Stat) -> u64 {
    let bytes = u64::try_from(file.st_blocks).unwrap_or(0) * BLOCK_BYTES;
    bytes / u64::from(file.st_nlink).max(1)
}

fn open(around: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(around, name, flags, Mode::empty())
}

/// None for what is gone meanwhile, or has become something else.
fn there<T>(found: Result<T, Errno>) -> Result<Option<T>, Hidden> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(_) => Err(Hidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn here(folder: &Path) -> u64 {
        of_process(std::process::id(), folder)
    }

    #[test]
    fn files_count_for_whoever_has_them() {
        let Ok(around) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        if in_memory(std::process::id(), around.path()) == 0 {
            return;
        }
        let (ours, theirs) = (around.path().join("ours"), around.path().join("theirs"));
        fs::create_dir_all(ours.join("a/b")).unwrap();
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("large"), vec![1; 8 << 20]).unwrap();
        assert_eq!(here(&ours), 0);
        fs::write(ours.join("a/b/file"), vec![1; 2 << 20]).unwrap();
        assert_eq!(here(&ours), 2 << 20);
        fs::hard_link(ours.join("a/b/file"), ours.join("again")).unwrap();
        std::os::unix::fs::symlink(theirs.join("large"), ours.join("link")).unwrap();
        std::os::unix::fs::symlink(&theirs, ours.join("folder")).unwrap();
        assert_eq!(here(&ours), 2 << 20);
        // Removed and open is still there.
        let mut open = fs::File::create(ours.join("open")).unwrap();
        open.write_all(&vec![1; 1 << 20]).unwrap();
        fs::remove_file(ours.join("open")).unwrap();
        assert_eq!(here(&ours), 3 << 20);
        drop(open);
        assert_eq!(here(&ours), 2 << 20);
        // More than is looked at is all that there is.
        let mut deep = ours.clone();
        for _ in 0..=DEPTH_MAX {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        assert!(here(&ours) >= 10 << 20);
    }
}
