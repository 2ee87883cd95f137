//! Making one worker that is an interpreter of its own: a fork, its walls, and the program in its place.
//!
//! All walls stand before the interpreter starts, the list of system calls included. That it is started at all is
//! permitted [`once`]; there must be no other way to a program.

use super::namespaces::{self, OWN, SCRATCH, check};
use super::{Plan, landlock, node, once, seccomp, steps};
use crate::process::journal::Journal;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The descriptors that a worker begins with, beside its streams: its socket, its journal, the host's modules, and
/// where it says that it has started, or why it has not.
const SOCKET_FD: RawFd = 3;
const JOURNAL_FD: RawFd = 4;
pub(super) const SCRIPT_FD: RawFd = 5;
const WORD_FD: RawFd = 6;
const FIRST_FREE: RawFd = 32;
/// Exit status of a worker whose interpreter did not start.
const EXIT_NOT_STARTED: i32 = 70;
/// The memory of a worker's own for files.
const OWN_MODE: u32 = 0o700;

/// What is put up around each worker.
pub(super) struct Walls {
    pub(super) proc: OwnedFd,
    /// Rules for files that all workers share.
    pub(super) rules: OwnedFd,
    /// A worker finds nothing that belongs to anybody else and could be changed.
    pub(super) alone: bool,
    /// Where workers have their folders.
    pub(super) scratch: PathBuf,
    /// What each has in a user namespace of its own; without one it has a folder among others'.
    pub(super) own: Option<Own>,
    pub(super) readable: Vec<PathBuf>,
    pub(super) programs: Vec<PathBuf>,
}

/// Bounds in a worker's own user namespace.
pub(super) struct Own {
    pub(super) scratch_bytes: u64,
    pub(super) threads: u64,
}

/// A worker that belongs to nobody yet.
pub(super) struct Newborn {
    pub(super) pid: Pid,
    pub(super) memory_mb: u32,
    /// The server's end of its socket.
    pub(super) line: OwnedFd,
    pub(super) journal: Journal,
    /// What it says of its start.
    pub(super) word: OwnedFd,
    /// Its folder among others', if it has one.
    pub(super) folder: Option<PathBuf>,
}

/// What a new process is made of.
struct Parts<'p> {
    plan: &'p Plan,
    walls: Option<&'p Walls>,
    script: BorrowedFd<'p>,
    parent: Pid,
    memory_mb: u32,
    folder: Option<&'p Path>,
}

/// Starts a worker with this much memory. Whether its interpreter starts, it says itself.
///
/// # Errors
/// When there is no process, or no descriptor.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(super) fn make(
    plan: &Plan,
    walls: Option<&Walls>,
    script: BorrowedFd<'_>,
    memory_mb: u32,
) -> io::Result<Newborn> {
    let (line, theirs) = std::os::unix::net::UnixStream::pair()?;
    let journal = Journal::new()?;
    let [lines, out, err] = journal.descriptors()?;
    let (word, says) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (asked, asks) = std::os::unix::net::UnixStream::pair()?;
    // Out of the way of what is placed.
    let (says, asks) = (out_of_the_way(&says)?, out_of_the_way(&asks)?);
    let folder = new_folder(plan, walls)?;
    let parts = Parts {
        plan,
        walls,
        script,
        parent: rustix::process::getpid(),
        memory_mb,
        folder: folder.as_deref(),
    };
    // SAFETY: this process has one thread, so the child's memory is whole.
    let child = unsafe { libc::fork() };
    check(child)?;
    let Some(pid) = Pid::from_raw(child) else {
        drop(asked);
        let given = [out, err, theirs.into(), lines];
        let Err(error) = parts.become_interpreter(&given, &says, asks.as_fd());
        let _ = rustix::io::write(&says, error.to_string().as_bytes());
        std::process::exit(EXIT_NOT_STARTED);
    };
    // So that its end is seen.
    drop((says, asks));
    if walls.is_some() {
        // Why not, it says itself.
        let _ = once::permit(asked.into(), word.as_fd());
    }
    Ok(Newborn {
        pid,
        memory_mb,
        line: line.into(),
        journal,
        word,
        folder,
    })
}

/// The path of a new worker's folder, where it has one among others'. Nobody can list what is around it, so no
/// other worker finds it.
fn new_folder(plan: &Plan, walls: Option<&Walls>) -> io::Result<Option<PathBuf>> {
    let around = match walls {
        Some(Walls { own: Some(_), .. }) => return Ok(None),
        Some(walls) => &walls.scratch,
        None => &plan.scratch_dir,
    };
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let name = format!("{:032x}", u128::from_ne_bytes(bytes));
    Ok(Some(around.join(name)))
}

impl Parts<'_> {
    /// Everything from the fork to the interpreter. Returns only if that fails.
    fn become_interpreter(
        &self,
        given: &[OwnedFd; 4],
        says: &OwnedFd,
        asks: BorrowedFd<'_>,
    ) -> Result<Infallible, io::Error> {
        rustix::process::setsid()?;
        let home = self
            .folder
            .map_or_else(|| Path::new(SCRATCH).join(OWN), Path::to_owned);
        self.separate(&home)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::other("the nursery has ended"));
        }
        self.place_descriptors(given, says)?;
        // The engine reckons with what a first thread usually has.
        let most = rustix::process::getrlimit(Resource::Stack).maximum;
        let whole = Rlimit {
            current: most,
            maximum: most,
        };
        rustix::process::setrlimit(Resource::Stack, whole)?;
        signals_as_usual()?;
        let arguments = node::arguments(&self.plan.program, self.memory_mb)?;
        let variables = variables(&home)?;
        if let Some(walls) = self.walls {
            let pid = std::process::id();
            let filter = seccomp::node_worker(walls.alone, pid)?;
            once::ask(asks).map_err(|error| named("seccomp", error))?;
            let applied = seccompiler::apply_filter(&filter);
            applied.map_err(|error| named("seccomp", io::Error::other(error)))?;
        }
        Err(named("exec", run(&arguments, &variables)))
    }

    /// Namespaces and scratch folder, limits, no capabilities, file rules.
    fn separate(&self, home: &Path) -> io::Result<()> {
        if self.folder.is_some() {
            std::fs::DirBuilder::new().mode(OWN_MODE).create(home)?;
        }
        let Some(walls) = self.walls else {
            return std::env::set_current_dir(home);
        };
        if let Some(own) = &walls.own {
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            // The change of user has hidden this process's own files in /proc from it.
            rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
            namespaces::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
                .and_then(|()| namespaces::map_user(&walls.proc, user.as_raw(), group.as_raw()))
                .map_err(|error| named("user namespace", error))?;
            let place = walls.scratch.join(OWN);
            namespaces::mount_memory(place, own.scratch_bytes, OWN_MODE)
                .map_err(|error| named("mount", error))?;
            steps::drop_capabilities()?;
            steps::limit(Resource::Nproc, own.threads)?;
        }
        std::env::set_current_dir(home)?;
        landlock::restrict_self(walls.rules.as_fd()).map_err(|error| named("landlock", error))?;
        if let Some(folder) = self.folder {
            // A second layer: of all that lies beside it, a worker may touch its own folder only.
            let own = landlock::rules(&landlock::Files {
                readable: &walls.readable,
                programs: &walls.programs,
                devices: super::confine::DEVICES,
                scratch: folder,
            });
            own.and_then(|own| landlock::restrict_self(own.as_fd()))
                .map_err(|error| named("landlock", error))?;
        }
        Ok(())
    }

    /// Puts each descriptor where the host expects it; all others are closed as the program starts.
    fn place_descriptors(&self, given: &[OwnedFd; 4], says: &OwnedFd) -> io::Result<()> {
        let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR, Mode::empty());
        // Nothing may be given up from here on whose number is another's by then.
        let null = out_of_the_way(null?)?;
        let [out, err, socket, lines] = given;
        let wanted = [
            (null.as_fd(), 0),
            (out.as_fd(), 1),
            (err.as_fd(), 2),
            (socket.as_fd(), SOCKET_FD),
            (lines.as_fd(), JOURNAL_FD),
            (self.script, SCRIPT_FD),
            (says.as_fd(), WORD_FD),
        ];
        // Via high numbers, because they may be each other's.
        let high: Vec<_> = wanted
            .iter()
            .map(|(descriptor, number)| Ok((out_of_the_way(descriptor)?, *number)))
            .collect::<io::Result<_>>()?;
        close_all_on_exec()?;
        for (descriptor, number) in &high {
            place(descriptor.as_fd(), *number)?;
        }
        Ok(())
    }
}

/// The same under a number that a worker's descriptors do not have.
fn out_of_the_way(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_FREE)?)
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Makes `number` refer to what `descriptor` does.
#[expect(unsafe_code, reason = "dup3 closes what had the number")]
fn place(descriptor: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: what had the number is owned by nobody who uses it afterwards: this process is about to become
    // another program, and what it still needs has higher numbers.
    check(unsafe { libc::dup3(descriptor.as_raw_fd(), number, 0) })
}

/// Closes everything above the standard streams as the program starts, unless it is placed later.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_all_on_exec() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0);
    // SAFETY: the call touches no memory and closes nothing now.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) })
}

/// No signal is blocked in the interpreter.
#[expect(unsafe_code, reason = "signal masks have no safe wrapper")]
fn signals_as_usual() -> io::Result<()> {
    // SAFETY: an empty set is made in memory of its own, and read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut(),
        ))
    }
}

fn variables(home: &Path) -> io::Result<Vec<CString>> {
    let home = home.to_str();
    let home = home.ok_or_else(|| io::Error::other("the scratch folder's name is not UTF-8"))?;
    let variables = [
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("HOME={home}"),
        format!("TMPDIR={home}"),
    ];
    let made = variables.into_iter().map(CString::new);
    Ok(made.collect::<Result<_, _>>()?)
}

/// Runs the program in place of this one. Returns only if that fails.
#[expect(unsafe_code, reason = "execve has no safe wrapper")]
fn run(arguments: &[CString], variables: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([std::ptr::null()]).collect()
    };
    let (given, variables) = (pointers(arguments), pointers(variables));
    // SAFETY: both lists end in a null pointer, and what they point to ends in NUL and outlives the call. The first
    // argument is the program's path.
    unsafe {
        libc::execve(given[0], given.as_ptr(), variables.as_ptr());
    }
    io::Error::last_os_error()
}
