//! The Python host: its modules, what it is told about the walls, and becoming it.
//!
//! The script lies in memory, so that there is no file to tamper with.

use super::Plan;
use super::landlock::OwnFolder;
use rustix::fs::MemfdFlags;
use serde::Serialize;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Threads that a numeric library starts by itself, at most.
const NUMERIC_THREADS: usize = 4;

/// Reads the host's modules from the descriptor of [`Script`], and runs the last. They have built-in
/// names of their own, so that a function that replaces Python's does not break them.
const BOOTSTRAP: &str = "\
import builtins, json, os, sys, types
own = dict(vars(builtins))
with os.fdopen(3, encoding='utf-8') as host:
    modules, walls = json.load(host)
for name, source in modules:
    module = types.ModuleType(name)
    module.__builtins__ = own
    sys.modules[name] = module
    exec(compile(source, f'<{name}>', 'exec'), module.__dict__)
module.main(walls)
";

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../hosts/python/", $name, ".py")))),+]
    };
}

/// The host, in the order of its imports.
const HOST: [(&str, &str); 20] = modules![
    "tollgate_frames",
    "tollgate_imports",
    "tollgate_noted",
    "tollgate_environ",
    "tollgate_files",
    "tollgate_glance",
    "tollgate_logs",
    "tollgate_http",
    "tollgate_client",
    "tollgate_check",
    "tollgate_limits",
    "tollgate_loggers",
    "tollgate_scratch",
    "tollgate_threads",
    "tollgate_fit",
    "tollgate_plain",
    "tollgate_results",
    "tollgate_walls",
    "tollgate_worker",
    "tollgate_zygote",
];

/// What each worker has to put up by itself.
#[derive(Debug, Serialize)]
pub(super) struct Walls {
    /// Descriptor of `/proc`, for the maps of a worker's user namespace.
    pub(super) proc: RawFd,
    /// Descriptor of the Landlock rules.
    pub(super) rules: RawFd,
    /// The seccomp program, in hexadecimal digits, and what stands in it for the worker's own pid.
    pub(super) filter: String,
    pub(super) own_pid: u32,
    /// Where workers have their scratch folders.
    pub(super) scratch: String,
    /// Each worker mounts memory of this many bytes there for itself; without it, each has a folder
    /// in there.
    pub(super) scratch_bytes: Option<u64>,
    /// Threads of one worker; none where they cannot be counted for one alone.
    pub(super) threads: Option<u64>,
    /// The layer of file rules that each worker makes for itself, where it has a folder among others'.
    pub(super) own_folder: Option<OwnFolder>,
    /// System calls that Python's library has no function for.
    pub(super) calls: Calls,
}

/// Numbers of system calls on this architecture.
#[derive(Debug, Serialize)]
pub(super) struct Calls {
    pub(super) capset: libc::c_long,
    pub(super) landlock_add_rule: libc::c_long,
    pub(super) landlock_create_ruleset: libc::c_long,
    pub(super) landlock_restrict_self: libc::c_long,
}

/// The descriptor from which the interpreter reads its host.
pub(super) struct Script(std::fs::File);

impl Script {
    /// Takes the descriptor, which has to be 3.
    pub(super) fn new() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("tollgate-host", MemfdFlags::empty())?;
        if file.as_raw_fd() != 3 {
            return Err(io::Error::other("the host script did not get descriptor 3"));
        }
        Ok(Self(std::fs::File::from(file)))
    }

    /// Writes what the host reads.
    pub(super) fn write(&mut self, content: &impl Serialize) -> io::Result<()> {
        use std::io::Seek as _;
        self.0.write_all(&serde_json::to_vec(content)?)?;
        self.0.rewind()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The Python host and what it has to know.
pub(super) fn told(walls: Option<&Walls>) -> impl Serialize + '_ {
    (HOST, walls)
}

/// Replaces this process by the interpreter. Returns only if that fails.
pub(super) fn exec(plan: &Plan) -> io::Error {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(NUMERIC_THREADS).to_string();
    Command::new(&plan.program)
        // Isolated from environment and user packages, unbuffered, no byte code written.
        .args([
            "-I",
            "-u",
            "-B",
            "-X",
            "utf8",
            "-c",
            BOOTSTRAP,
            "tollgate-zygote",
        ])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        // One allocator arena: each further one reserves 64 MiB of a worker's address space.
        .env("MALLOC_ARENA_MAX", "1")
        // Numeric libraries start a thread for each core when they are imported, which on a large
        // machine is more than a worker may have.
        .env("OMP_NUM_THREADS", &threads)
        .env("OPENBLAS_NUM_THREADS", &threads)
        .exec()
}
