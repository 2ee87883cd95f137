//! seccomp: the system calls that host and worker may make. The only place where they are listed.
//!
//! Both lists allow; what is not on them is refused. They were traced with CPython 3.9 to 3.13 and
//! what functions commonly import. The list of workers must stay a subset of the host's: filters
//! are only ever added. Both begin with a look at the architecture word, so that calls of another
//! one (32 bit) end the process; x32 numbers are on no list.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// Stands in a worker's program where its own process id belongs. The host fills it in, because
/// only a worker knows its number. No process has this one.
pub(super) const OWN_PID: u32 = 0x7fff_fffe;

/// What a worker may do without a condition.
const WORKER: &[libc::c_long] = &[
    // Files. Landlock and the file tree decide which.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_chdir,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_getitimer,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_setitimer,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    // Memory and threads. The first filter answers clone3 itself.
    libc::SYS_brk,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_get_robust_list,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // Signals within the process.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // The worker's own socket, and pairs.
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    // Questions about oneself.
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_sched_getaffinity,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Calls about attributes of files: allowed here, because another filter answers them.
const ATTRIBUTES: &[libc::c_long] = &[
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
];

/// Calls that only x86-64 has, each an older form of one above.
#[cfg(target_arch = "x86_64")]
const WORKER_OLDER: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getpgrp,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const WORKER_OLDER: &[libc::c_long] = &[];

/// Changes that Landlock does not look at, or not in every version, so that they are for a worker
/// that finds nothing of anybody's: in a file tree and with a scratch folder of its own.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
];

/// What the host may do besides: start the interpreter, fork workers, kill them, and put up the
/// walls that each worker needs for itself.
const HOST: &[libc::c_long] = &[
    libc::SYS_capset,
    libc::SYS_clone,
    libc::SYS_execve,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_mount,
    libc::SYS_pidfd_open,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsid,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
    libc::SYS_tgkill,
    libc::SYS_unshare,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getrlimit,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_setrlimit,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// What Node does besides when it starts.
const NODE: &[libc::c_long] = &[libc::SYS_capget, libc::SYS_execve];

/// What the nursery does that a host in Python does not: it makes what its workers share with the server, and
/// puts up their filters.
const NURSERY: &[libc::c_long] = &[
    libc::SYS_capget,
    libc::SYS_memfd_create,
    libc::SYS_seccomp,
    libc::SYS_signalfd4,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters of the host, to be put up in this order.
///
/// # Errors
/// When a program cannot be built, which is a mistake in the lists.
pub(super) fn host() -> io::Result<[BpfProgram; 3]> {
    // It empties workers' folders, and some of them are closed.
    let mut rules = unconditional(true);
    rules.extend(HOST.iter().map(|&call| (call, Vec::new())));
    with_answers(rules)
}

/// The filters of the nursery, in the same way.
///
/// # Errors
/// As [`host`].
pub(super) fn nursery() -> io::Result<[BpfProgram; 3]> {
    let mut rules = unconditional(true);
    rules.extend(HOST.iter().chain(NURSERY).map(|&call| (call, Vec::new())));
    with_answers(rules)
}

/// A list of what is allowed, after the filters that have answers of their own.
fn with_answers(rules: Rules) -> io::Result<[BpfProgram; 3]> {
    // With EPERM, Python cannot start threads; this sends it to `clone`.
    let clone3 = answer(&[libc::SYS_clone3], libc::ENOSYS)?;
    // With EPERM, `shutil.copy2` fails; with this it knows that there are none.
    let attributes = answer(ATTRIBUTES, libc::ENOTSUP)?;
    Ok([clone3, attributes, allow_only(rules)?])
}

/// A filter that refuses these calls with an error of their own and is silent about others.
fn answer(calls: &[libc::c_long], error: i32) -> io::Result<BpfProgram> {
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(errno(error));
    compile(rules, SeccompAction::Allow, refuse)
}

/// The filter that a worker adds before it sees a function's code, with [`OWN_PID`] in it.
///
/// # Errors
/// As [`host`].
pub(super) fn worker(alone: bool) -> io::Result<BpfProgram> {
    let mut rules = unconditional(alone);
    rules.extend(conditional()?);
    allow_only(rules)
}

/// The filter of a Node worker with this process id, which it puts up before it becomes the interpreter: so it lets
/// it run a program, which another filter permits once ([`super::once`]).
///
/// # Errors
/// As [`host`].
pub(super) fn node_worker(alone: bool, pid: u32) -> io::Result<BpfProgram> {
    let mut rules = unconditional(alone);
    rules.extend(conditional()?);
    rules.extend(NODE.iter().map(|&call| (call, Vec::new())));
    #[cfg(target_arch = "x86_64")]
    rules.insert(
        libc::SYS_arch_prctl,
        vec![rule(vec![equal(0, ARCH_SET_FS)?])?],
    );
    let mut filter = allow_only(rules)?;
    for instruction in &mut filter {
        if instruction.k == OWN_PID {
            instruction.k = pid;
        }
    }
    Ok(filter)
}

/// How the first thread is told where its own values lie, from `asm/prctl.h`.
#[cfg(target_arch = "x86_64")]
const ARCH_SET_FS: u64 = 0x1002;

/// The program as the kernel reads it.
pub(super) fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

fn unconditional(alone: bool) -> Rules {
    let changes = if alone { CHANGES } else { &[] };
    [WORKER, WORKER_OLDER, ATTRIBUTES, changes]
        .concat()
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect()
}

/// What a worker may do under conditions on the arguments.
fn conditional() -> io::Result<Rules> {
    let own = |argument| equal(argument, u64::from(OWN_PID));
    let any_of = |argument, values: &[u64]| -> io::Result<Vec<SeccompRule>> {
        values
            .iter()
            .map(|&value| rule(vec![equal(argument, value)?]))
            .collect()
    };
    // A thread, and no namespace with it.
    let flags = number(libc::CLONE_THREAD);
    let namespaces = number(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET,
    );
    let thread = condition(0, SeccompCmpOp::MaskedEq(flags | namespaces), flags)?;
    // A stream pair only: a datagram socket of a pair could still be pointed at an address.
    let unix = equal(0, number(libc::AF_UNIX))?;
    let stream = condition(1, SeccompCmpOp::MaskedEq(0xf), number(libc::SOCK_STREAM))?;
    let nowhere = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    Ok(Rules::from([
        (libc::SYS_clone, vec![rule(vec![thread])?]),
        (libc::SYS_socketpair, vec![rule(vec![unix, stream])?]),
        (
            libc::SYS_sendto,
            vec![rule(vec![nowhere.map_err(io::Error::other)?])?],
        ),
        (libc::SYS_kill, vec![rule(vec![own(0)?])?]),
        (libc::SYS_tgkill, vec![rule(vec![own(0)?])?]),
        (libc::SYS_prlimit64, vec![rule(vec![equal(0, 0)?])?]),
        (libc::SYS_fcntl, any_of(1, FCNTL)?),
        (libc::SYS_ioctl, any_of(1, IOCTL)?),
        (libc::SYS_prctl, any_of(0, PRCTL)?),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_getrlimit, Vec::new()),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_setrlimit, Vec::new()),
    ]))
}

/// Nothing that names an owner: the kernel would send it signals on the worker's behalf.
const FCNTL: &[u64] = &[
    number(libc::F_DUPFD),
    number(libc::F_DUPFD_CLOEXEC),
    number(libc::F_GETFD),
    number(libc::F_SETFD),
    number(libc::F_GETFL),
    number(libc::F_SETFL),
    number(libc::F_GETLK),
    number(libc::F_SETLK),
    number(libc::F_SETLKW),
    number(libc::F_OFD_GETLK),
    number(libc::F_OFD_SETLK),
    number(libc::F_OFD_SETLKW),
    number(libc::F_GETPIPE_SZ),
    number(libc::F_GET_SEALS),
];

const IOCTL: &[u64] = &[
    libc::TCGETS,
    libc::TIOCGWINSZ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
];

const PRCTL: &[u64] = &[
    number(libc::PR_SET_NAME),
    number(libc::PR_GET_NAME),
    number(libc::PR_SET_VMA),
    number(libc::PR_GET_DUMPABLE),
    number(libc::PR_GET_NO_NEW_PRIVS),
    number(libc::PR_GET_SECCOMP),
    // For tests of what is bounded, and harmless: it only reads.
    number(libc::PR_CAPBSET_READ),
];

/// A constant of the C headers that is never negative.
#[expect(clippy::cast_sign_loss, reason = "the header's constants are positive")]
const fn number(constant: i32) -> u64 {
    constant as u32 as u64
}

fn errno(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Compares 32 bits, which is what the kernel reads of an `int`.
fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
        .map_err(io::Error::other)
}

fn equal(argument: u8, value: u64) -> io::Result<SeccompCondition> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn allow_only(rules: Rules) -> io::Result<BpfProgram> {
    let refuse = SeccompAction::Errno(errno(libc::EPERM));
    compile(rules, refuse, SeccompAction::Allow)
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter =
        SeccompFilter::new(rules, others, these, architecture).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

/// Whether filters can be put up here.
#[expect(unsafe_code, reason = "the crate does not ask")]
pub(super) fn is_supported() -> bool {
    const GET_ACTION_AVAIL: libc::c_ulong = 2;
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the call reads the one number that it is pointed to.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_do_nothing_that_the_host_may_not() {
        let host: Vec<_> = [WORKER, WORKER_OLDER, HOST].concat();
        for call in conditional().unwrap().into_keys() {
            assert!(host.contains(&call), "{call}");
        }
        for call in [libc::SYS_execve, libc::SYS_unshare, libc::SYS_mount] {
            assert!(!WORKER.contains(&call) && !conditional().unwrap().contains_key(&call));
        }
    }

    #[test]
    fn a_node_worker_may_do_nothing_that_the_nursery_may_not() {
        let nursery: Vec<_> = [WORKER, WORKER_OLDER, HOST, NURSERY].concat();
        for call in NODE.iter().chain(WORKER) {
            assert!(nursery.contains(call), "{call}");
        }
        for call in [libc::SYS_execveat, libc::SYS_io_uring_setup] {
            assert!(!WORKER.contains(&call) && !NODE.contains(&call));
        }
    }

    #[test]
    fn the_pid_to_fill_in_stands_in_its_place_only() {
        let program = bytes(&worker(true).unwrap());
        let blank = OWN_PID.to_ne_bytes();
        let aligned = |at: &usize| at % 8 == 4;
        let places: Vec<usize> = (0..program.len() - 3)
            .filter(|&at| program[at..at + 4] == blank)
            .collect();
        // One for kill, one for tgkill.
        assert_eq!(places.iter().filter(|at| aligned(at)).count(), 2);
        assert_eq!(places.len(), 2);
    }

    #[test]
    fn the_programs_fit_the_kernel() {
        const MOST: usize = 4096;
        let workers = [worker(true).unwrap(), node_worker(true, 1).unwrap()];
        let hosts = [host().unwrap(), nursery().unwrap()].into_iter().flatten();
        for program in hosts.chain(workers) {
            assert!(program.len() <= MOST, "{}", program.len());
        }
    }
}
