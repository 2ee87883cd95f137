//! What the launcher does to itself whether or not there are walls.
//!
//! Each step must leave the process able to take the next one.

use super::Plan;
use super::namespaces::check;
use rustix::process::{Resource, Rlimit, Signal};
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;
use tollgate_core::limits;

/// How much less a worker weighs than the server: about a third.
const NICENESS: i32 = 5;
/// How much later than it asked for a worker may be woken. Threads that wait for Python's lock each wake up
/// every few milliseconds: the kernel's timers for hundreds of them, one by one, would take the processor from
/// everybody.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// No terminal, and a process group of its own.
pub(super) fn session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// The server's own threads come first where there is no control group that shares processor time.
pub(super) fn modesty() -> io::Result<()> {
    rustix::process::nice(NICENESS)?;
    let slack = u64::try_from(TIMER_SLACK.as_nanos()).ok();
    rustix::thread::set_current_timer_slack(slack.and_then(NonZeroU64::new))?;
    Ok(())
}

/// What a worker leaves behind becomes a child of the zygote, which kills it.
pub(super) fn subreaper() -> io::Result<()> {
    // Any value but none switches it on.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The end of the server reaches the zygote as SIGTERM as well as through its socket.
///
/// Not SIGKILL: the zygote must live long enough to kill what has left its workers' sessions.
pub(super) fn parent_death() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    Ok(())
}

pub(super) fn resource_limits(plan: &Plan) -> io::Result<()> {
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, plan.open_files)?;
    limit(Resource::Fsize, plan.file_bytes)
}

/// How much of a stack a thread gets that does not say. The first thread's is the hard limit: the
/// host raises its own again once the C library has read this.
pub(super) fn thread_stacks() -> io::Result<()> {
    let ceiling = rustix::process::getrlimit(Resource::Stack).maximum;
    let most = ceiling.unwrap_or(u64::MAX).min(limits::STACK_BYTES);
    rustix::process::setrlimit(
        Resource::Stack,
        Rlimit {
            current: Some(limits::THREAD_STACK_BYTES.min(most)),
            maximum: Some(most),
        },
    )?;
    Ok(())
}

/// The limit counts all threads of the user, also those `outside`, so these are added to it.
/// It does not bind root at all.
pub(super) fn process_limit(plan: &Plan, outside: u64) -> io::Result<()> {
    limit(Resource::Nproc, plan.processes.saturating_add(outside))
}

/// The threads that a user has on this machine, as far as they can be seen.
pub(super) fn threads_of(user: u32) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let threads = processes
        .flatten()
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|metadata| metadata.uid() == user)
        })
        .filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok())
        .map(Iterator::count)
        .sum::<usize>();
    u64::try_from(threads).unwrap_or(u64::MAX)
}

/// Sets both limits; never raises a hard limit that is already lower.
pub(super) fn limit(resource: Resource, wanted: u64) -> io::Result<()> {
    let ceiling = rustix::process::getrlimit(resource)
        .maximum
        .unwrap_or(u64::MAX);
    let value = Some(wanted.min(ceiling));
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: value,
            maximum: value,
        },
    )?;
    Ok(())
}

/// Closes whatever the server did not mean to pass on.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(super) fn descriptors() -> io::Result<()> {
    // SAFETY: the call touches no memory. No object of this process owns a descriptor above 2 that
    // is used afterwards: the launcher has opened none yet, and its standard streams are 0, 1 and 2.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, 0) })
}

/// Gives up user, groups and capabilities for those of a user that owns nothing.
#[expect(unsafe_code, reason = "these calls have no safe wrapper")]
pub(super) fn become_user(user: u32, group: u32) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        // SAFETY: the calls take numbers, and a null list of length 0. This process has one thread,
        // so it changes as a whole.
        check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        check(unsafe { libc::setresgid(group, group, group) })?;
        check(unsafe { libc::setresuid(user, user, user) })?;
    }
    Ok(())
}

/// Gives up every capability, which a namespace of one's own would leave one with.
pub(super) fn drop_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(())
}
