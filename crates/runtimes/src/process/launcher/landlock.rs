//! Landlock: which files a worker may touch, and that signals end at it.
//!
//! The launcher makes the rules once, as a descriptor; each worker binds itself to them, so that
//! each is a domain of its own. They must never be bound to before the worker has made its mounts:
//! a process with file rules may not mount.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags,
};
use serde::Serialize;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The newest interface whose rights are all known here; an older kernel enforces what it knows.
const NEWEST: ABI = ABI::V7;
/// To read, with everything below.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// The first that knows signals and abstract sockets.
pub(super) const SIGNALS_SINCE: i32 = 6;

/// What a worker may touch.
pub(super) struct Files<'a> {
    /// Read, with everything below.
    pub(super) readable: &'a [PathBuf],
    /// Run.
    pub(super) programs: &'a [PathBuf],
    /// Devices that may be read and written.
    pub(super) devices: &'a [&'static str],
    /// Everything but running programs.
    pub(super) scratch: &'a Path,
}

/// The interface's version, 0 where there is none.
#[expect(unsafe_code, reason = "the crate does not tell the version")]
pub(super) fn version() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no memory and only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// The rules, as the descriptor of a ruleset.
///
/// # Errors
/// When the kernel has no Landlock, or a path cannot be opened.
pub(super) fn rules(files: &Files<'_>) -> io::Result<OwnedFd> {
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|set| set.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|set| set.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(other)?;
    let mut made = made;
    for path in files.readable {
        made = allow(made, path, READ)?;
    }
    for path in files.programs {
        made = allow(made, path, AccessFs::ReadFile | AccessFs::Execute)?;
    }
    for path in files.devices {
        made = allow(
            made,
            Path::new(path),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
    }
    made = allow(made, files.scratch, in_scratch())?;
    Option::<OwnedFd>::from(made).ok_or_else(|| {
        io::Error::other(
            "this kernel enforces no Landlock rules (Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and \
             landlock in its list lsm=)",
        )
    })
}

/// A second layer, for a worker whose folder lies among others': the same, but its own folder alone.
/// The worker makes it, because only it knows its folder.
#[derive(Debug, Serialize)]
pub(super) struct OwnFolder {
    /// What the layer decides about.
    handled: u64,
    /// What is allowed in the worker's folder.
    own: u64,
    /// What else is allowed where.
    shown: Vec<(PathBuf, u64)>,
}

/// What the worker needs for its layer.
pub(super) fn own_folder(files: &Files<'_>) -> OwnFolder {
    let known = AccessFs::from_all(ABI::from(version()));
    let readable = files.readable.iter().map(|path| (path.as_path(), READ));
    let devices = files.devices.iter();
    let devices = devices.map(|path| (Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile));
    let programs = files.programs.iter();
    let programs = programs.map(|path| (path.as_path(), AccessFs::ReadFile | AccessFs::Execute));
    let shown = readable.chain(programs).chain(devices);
    let shown = shown.filter_map(|(path, access)| {
        let access = suited(path, access)? & known;
        Some((path.to_owned(), access.bits()))
    });
    OwnFolder {
        handled: known.bits(),
        own: (in_scratch() & known).bits(),
        shown: shown.collect(),
    }
}

/// Everything but running programs, and what is no file.
fn in_scratch() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEWEST)
        & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar)
        & !(AccessFs::MakeSock | AccessFs::IoctlDev)
}

/// What of these rights there is for a path; none if it does not exist. Rights to a folder mean
/// nothing for a file, and the kernel refuses them.
fn suited(path: &Path, access: BitFlags<AccessFs>) -> Option<BitFlags<AccessFs>> {
    let metadata = path.metadata().ok()?;
    Some(if metadata.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    })
}

/// Adds one rule; a path that does not exist needs none.
fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> io::Result<landlock::RulesetCreated> {
    let Some(access) = suited(path, access) else {
        return Ok(rules);
    };
    let open = PathFd::new(path).map_err(io::Error::other)?;
    rules
        .add_rule(PathBeneath::new(open, access))
        .map_err(other)
}

/// Binds this process to rules that stand ready.
///
/// # Errors
/// When the kernel refuses.
#[expect(
    unsafe_code,
    reason = "the crate binds only to rules that it has just made"
)]
pub(super) fn restrict_self(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    let outcome = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    super::namespaces::check(libc::c_int::try_from(outcome).unwrap_or(-1))
}

/// Binds the launcher, and so the zygote, to what does not hinder mounts: no TCP, and no signal or
/// abstract socket beyond itself and its workers.
pub(super) fn restrict_host() -> io::Result<()> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessNet::from_all(ABI::V4))
        .and_then(|set| set.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map(drop)
        .map_err(other)
}

fn other(error: RulesetError) -> io::Error {
    io::Error::other(error)
}
