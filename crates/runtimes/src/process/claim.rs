//! Whose a folder on disk is in which workers had theirs: a server's, for as long as that lives.
//!
//! A server holds a lock on a file beside its folders; the kernel gives it back when the server has ended,
//! however it ended. A process id says nothing: another process may have it by now, or one of another
//! container that shares the place.

use super::scratch;
use parking_lot::Mutex;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What all names begin with. The rest is the server's name, and for a folder a count.
const PREFIX: &str = "tollgate-scratch-";
const LOCK: &str = ".lock";
/// Names that are tried before a server goes without.
const TRIES: u32 = 1000;

/// A server's claim on its folders in some places.
#[derive(Debug)]
pub(super) struct Claim {
    server: String,
    locks: Mutex<Vec<(PathBuf, OwnedFd)>>,
}

impl Claim {
    /// A claim in each of `places` that can be written to, under a name that nobody has there.
    pub(super) fn make(places: &[&Path]) -> Self {
        let pid = std::process::id();
        for number in 0..TRIES {
            let claim = Self::named(format!("{pid}.{number}"));
            match places.iter().try_for_each(|place| claim.extend_to(place)) {
                Ok(()) => return claim,
                Err(error) => tracing::debug!(%error, claim.server, "scratch.taken"),
            }
        }
        tracing::warn!("no name for scratch folders is free; those of this server may be swept");
        Self::named(format!("{pid}.{TRIES}"))
    }

    fn named(server: String) -> Self {
        Self {
            server,
            locks: Mutex::default(),
        }
    }

    fn extend_to(&self, place: &Path) -> io::Result<()> {
        let lock = lock_new(place.join(lock_name(&self.server)))?;
        self.locks.lock().extend(lock);
        Ok(())
    }

    /// Gives it back: its folders are gone.
    pub(super) fn release(&self) {
        for (path, _lock) in self.locks.lock().drain(..) {
            // The next server sweeps what cannot be removed.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The name of one of its folders.
    pub(super) fn folder(&self, count: u64) -> String {
        format!("{PREFIX}{}-{count}", self.server)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

fn lock_name(server: &str) -> String {
    format!("{PREFIX}{server}{LOCK}")
}

/// A new file, locked; none where no file can be made, and so no folder.
fn lock_new(path: PathBuf) -> io::Result<Option<(PathBuf, OwnedFd)>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(rustix::io::Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => return Ok(None),
    };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // Between the two another server may have taken it for a dead one's.
    let (own, there) = (rustix::fs::fstat(&file)?, std::fs::symlink_metadata(&path)?);
    if (own.st_dev, own.st_ino) != (there.dev(), there.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Some((path, file)))
}

/// The lock of a server that has ended, or nothing in its place; none if it lives.
fn ended(lock: &Path, owners: &[u32]) -> Option<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(CWD, lock, flags, Mode::empty()) else {
        // None is there, or one that no server of ours has made.
        return Some(None);
    };
    if !rustix::fs::fstat(&file).is_ok_and(|it| owners.contains(&it.st_uid)) {
        return Some(None);
    }
    let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    locked.is_ok().then_some(Some(file))
}

/// Removes from `place` what servers left that have ended. Only what belongs to these owners is ours.
pub(super) fn sweep(place: &Path, owners: &[u32]) {
    let names: Vec<String> = std::fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
        .collect();
    let server = |name: &str| {
        let rest = name.strip_prefix(PREFIX)?;
        let server = rest.strip_suffix(LOCK);
        let server = server.or_else(|| Some(rest.rsplit_once('-')?.0))?;
        Some(server.to_owned())
    };
    let servers: BTreeSet<String> = names.iter().filter_map(|name| server(name)).collect();
    for of in servers {
        let lock = place.join(lock_name(&of));
        let Some(held) = ended(&lock, owners) else {
            continue;
        };
        let its = names
            .iter()
            .filter(|name| server(name).as_ref() == Some(&of));
        for path in its.map(|name| place.join(name)) {
            let ours = std::fs::symlink_metadata(&path)
                .is_ok_and(|found| found.is_dir() && owners.contains(&found.uid()));
            if ours && let Err(error) = scratch::remove(&path) {
                tracing::warn!(folder = %path.display(), %error, "scratch.left");
            }
        }
        if held.is_some() {
            // The last, and while it is held: a folder without one is anybody's to remove.
            let _ = std::fs::remove_file(&lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_swept_goes_by_the_servers_lock_and_not_by_its_number() {
        let place = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let make = |name: &str| {
            let folder = place.path().join(name);
            fs::create_dir_all(folder.join("inside")).unwrap();
            folder
        };
        let claim = Claim::make(&[place.path(), Path::new("/proc")]);
        let running = make(&claim.folder(1));
        // Another process has its number by now: this one.
        let pid = std::process::id();
        let lost = make(&format!("{PREFIX}{pid}.77-1"));
        let killed = make(&format!("{PREFIX}4194305.0-1"));
        let lock = place.path().join(lock_name("4194305.0"));
        fs::write(&lock, "").unwrap();
        let other = make("something-else-4194305.0-1");
        sweep(place.path(), &[own.wrapping_add(1)]);
        assert!(lost.exists() && killed.exists(), "another owner's");
        sweep(place.path(), &[own]);
        assert!(!lost.exists() && !killed.exists() && !lock.exists());
        assert!(running.exists() && other.exists());
        // A second server of the same process, as in tests, is another one.
        let second = Claim::make(&[place.path()]);
        assert_ne!(second.folder(1), claim.folder(1));
        drop(claim);
        sweep(place.path(), &[own]);
        assert!(!running.exists());
        drop(second);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
