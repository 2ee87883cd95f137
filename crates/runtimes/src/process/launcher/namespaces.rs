//! Namespaces: a process list, a network, and a file tree of the host's own.
//!
//! Each is tried by itself, because a container may refuse some. Nothing here may leave the process
//! half inside: what is not reached is reported, and what was begun on the way is harmless, because
//! mounts happen in a private copy and count only once the root has been changed.

use super::confine::{DEVICES, SHARED_SCRATCH_BYTES};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    unmount,
};
use rustix::process::{Signal, WaitOptions, chdir, pivot_root, waitpid};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Where the new tree is put together. Every Linux has the folder, nothing of it is wanted in the
/// new tree, and it is covered in a private copy of the mounts only.
const BUILD: &str = "/proc";
/// Where workers have their scratch folders in the new tree.
pub(super) const SCRATCH: &str = "/scratch";
/// The folder in there over which each mounts its own. It is one deeper than the Landlock rule's,
/// because Landlock does not see a folder that something is mounted on.
pub(super) const OWN: &str = "own";

/// Leaves namespaces of these kinds (`CLONE_NEW…`) for new ones.
#[expect(unsafe_code, reason = "unshare has no safe wrapper")]
pub(super) fn unshare(kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: the call touches no memory, and this process has one thread.
    check(unsafe { libc::unshare(kinds) })
}

/// Forks, and returns in the child.
///
/// The parent never returns: it stays outside, does nothing but wait, and ends as the child ends.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(super) fn continue_in_child() -> io::Result<()> {
    // SAFETY: this process has one thread, so the child's memory is whole.
    let child = unsafe { libc::fork() };
    check(child)?;
    let Some(child) = rustix::process::Pid::from_raw(child) else {
        // What is left of the parent's duties if it dies: the kernel ends the child, and with it
        // its whole namespace.
        return rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(io::Error::from);
    };
    // The end of the server ends this process, and that the child.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // The socket and the error pipe are the child's: their ends must be seen.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(Some((_, status))) => {
                let code = status.exit_status();
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                std::process::exit(code.or(signal).unwrap_or(1));
            }
            Ok(None) | Err(_) => std::process::exit(1),
        }
    }
}

/// Gives this process's user and group, and no others, a place in its new user namespace.
pub(super) fn map_user(proc: &OwnedFd, user: u32, group: u32) -> io::Result<()> {
    for (file, text) in [
        ("self/uid_map", format!("{user} {user} 1")),
        ("self/setgroups", "deny".to_owned()),
        ("self/gid_map", format!("{group} {group} 1")),
    ] {
        let open = rustix::fs::openat(proc, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&open, text.as_bytes())?;
    }
    Ok(())
}

/// Whether a worker will be able to have a user namespace and a scratch folder in memory: does in
/// a child, as `user` and `group`, what a worker does.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(super) fn try_worker(proc: &OwnedFd, user: u32, group: u32) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child's memory is whole.
    let child = unsafe { libc::fork() };
    check(child)?;
    let Some(child) = rustix::process::Pid::from_raw(child) else {
        let trial = || {
            super::steps::become_user(user, group)?;
            // The change of user has hidden this process's own files in /proc from it.
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
            map_user(proc, user, group)?;
            mount_memory(BUILD, 1 << 20, 0o700)
        };
        let code = match trial() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        std::process::exit(code);
    };
    let ended = waitpid(Some(child), WaitOptions::empty())?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("the trial was killed")),
    }
}

/// Makes a file tree of these paths, read-only, and makes it the root. With `shared_scratch`, its
/// scratch folder can be written to by `user`.
///
/// Needs a mount namespace that nobody else is in.
pub(super) fn change_root(
    readable: &[PathBuf],
    shared_scratch: Option<(u32, u32)>,
) -> io::Result<()> {
    // The other user has to get through the folders that are made here.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    mount_memory(BUILD, 1 << 20, 0o755)?;
    let build = Path::new(BUILD);
    let mut made = BTreeSet::new();
    for path in readable {
        // Parents come first in order, and a child of what is there already is there too.
        if made.iter().any(|parent: &PathBuf| path.starts_with(parent)) {
            continue;
        }
        if bind(path, build)? {
            seal(&at(build, path), true)?;
            made.insert(path.clone());
        }
    }
    for device in DEVICES {
        bind(Path::new(device), build)?;
    }
    let scratch = at(build, Path::new(SCRATCH));
    fs::create_dir_all(scratch.join(OWN))?;
    if !at(build, Path::new("/tmp")).exists() {
        let own = Path::new(SCRATCH).join(OWN);
        std::os::unix::fs::symlink(own, at(build, Path::new("/tmp")))?;
    }
    if let Some((user, group)) = shared_scratch {
        mount_memory(&scratch, SHARED_SCRATCH_BYTES, 0o300)?;
        std::os::unix::fs::chown(&scratch, Some(user), Some(group))?;
    }
    seal(build, false)?;
    chdir(BUILD)?;
    // The old root comes to lie on top of the new one, and is taken away.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    Ok(())
}

pub(super) fn mount_memory(
    target: impl rustix::path::Arg,
    bytes: u64,
    mode: u32,
) -> io::Result<()> {
    let options = CString::new(format!("size={bytes},nr_inodes=16384,mode=0{mode:o}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // The tree of the interpreter lies on such a file system too, but not in it.
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str())?;
    Ok(())
}

/// Makes `path` visible below `build`. False if there is no such thing.
fn bind(path: &Path, build: &Path) -> io::Result<bool> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(false);
    };
    let target = at(build, path);
    if metadata.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(&target)?;
    }
    mount_bind_recursive(path, &target)?;
    Ok(true)
}

/// The place of an absolute path below another.
fn at(build: &Path, path: &Path) -> PathBuf {
    let names = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    build.join(names.collect::<PathBuf>())
}

/// Makes a mount read-only and takes set-user-id and device files from it, with all mounts below it
/// if `all`. Only adds, as a less privileged namespace must.
#[expect(unsafe_code, reason = "mount_setattr has no wrapper")]
fn seal(path: &Path, all: bool) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = if all { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends in NUL, the structure has the size that is told, and both outlive the
    // call, which writes to neither.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(libc::c_int::try_from(outcome).unwrap_or(-1))
}

/// `/proc`, through which processes inside are still given their maps once they cannot name it.
pub(super) fn open_proc() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?)
}

pub(super) fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
