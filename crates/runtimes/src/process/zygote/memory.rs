//! What bounds the memory of one host's workers: a control group each, else the watchdog.

use crate::process::groups::{self, Beyond};
use crate::process::language::Language;
use crate::process::watchdog::{Scratch, Verdict, Watchdog};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What bounds memory where hosts run.
pub(super) enum Memory {
    /// The kernel, by groups.
    Groups(groups::Host),
    /// The server, by looking.
    Watched {
        watchdog: Arc<Watchdog>,
        /// Where a worker has memory for files, as it sees that.
        scratch: Option<Arc<Path>>,
    },
    /// Nothing but what a worker bounds itself.
    Nothing,
}

/// The bound of one worker, for as long as it lives.
pub(super) enum Bound {
    Group(groups::Worker),
    Watched {
        watchdog: Arc<Watchdog>,
        id: u64,
        bytes: u64,
        verdict: Arc<Verdict>,
    },
    Nothing,
}

impl Memory {
    /// What bounds a new worker, and the descriptors through which it enters its group.
    ///
    /// # Errors
    /// When the kernel refuses a group.
    pub(super) fn bound(
        &self,
        language: Language,
        id: u64,
        memory_mb: u32,
    ) -> io::Result<(Bound, Vec<OwnedFd>)> {
        let bytes = (u64::from(memory_mb) << 20) + language.overhead_bytes();
        match self {
            Self::Groups(host) => {
                let (group, entrances) = host.worker(id, bytes)?;
                Ok((Bound::Group(group), entrances))
            }
            Self::Watched { watchdog, .. } => {
                let bound = Bound::Watched {
                    watchdog: Arc::clone(watchdog),
                    id,
                    bytes,
                    verdict: Arc::default(),
                };
                Ok((bound, Vec::new()))
            }
            Self::Nothing => Ok((Bound::Nothing, Vec::new())),
        }
    }

    /// The worker runs: the process that `launcher`'s host knows by the number `inner`.
    /// Its files lie in `folder`, if it has one among others'.
    pub(super) fn begin(
        &self,
        bound: &Bound,
        (launcher, inner): (u32, u32),
        folder: Option<PathBuf>,
    ) {
        if let (
            Self::Watched { scratch, .. },
            Bound::Watched {
                watchdog,
                id,
                bytes,
                verdict,
            },
        ) = (self, bound)
        {
            let own = scratch.clone().map(Scratch::Own);
            let scratch = own.or(folder.map(Scratch::Folder));
            let scratch = scratch.unwrap_or(Scratch::Anywhere);
            watchdog.add(*id, (launcher, inner), *bytes, scratch, Arc::clone(verdict));
        }
    }
}

impl Bound {
    /// Which bound killed the worker, if one did.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        match self {
            Self::Group(group) => group.beyond(),
            Self::Watched { verdict, .. } => verdict.beyond(),
            Self::Nothing => None,
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::Watched { watchdog, id, .. } = self {
            watchdog.remove(*id);
        }
    }
}
