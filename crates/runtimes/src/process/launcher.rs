//! The launcher: our own binary, run again, that walls itself in and becomes the interpreter.
//!
//! It runs before any thread exists, because what it sets binds a thread or a process for good.
//! [`STEPS`] is ordered: a wall that is added later takes its place in the list and moves nothing.
//! It must never run function code, open a file of the server's, or keep a descriptor besides its
//! control socket (0), `/dev/null` (1), the error pipe (2) and the host script (3).

use rustix::fs::MemfdFlags;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use tollgate_core::limits;

/// The hidden first argument with which the server starts its own binary as a launcher.
pub const LAUNCH_ARG: &str = "__launch";

/// Set in a launcher's environment, and in no other process's.
const LAUNCH_VARIABLE: &str = "TOLLGATE_LAUNCH";

/// The name that a test of an ordinary test binary must have to serve as launcher.
const TEST_ENTRY: &str = "launcher_entry";

/// Reads the host's modules from the descriptor that [`exec`] left behind, and runs the last.
const BOOTSTRAP: &str = "\
import json, os, sys, types
with os.fdopen(3, encoding='utf-8') as host:
    modules = json.load(host)
for name, source in modules:
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, f'<{name}>', 'exec'), module.__dict__)
module.main()
";

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../hosts/python/", $name, ".py")))),+]
    };
}

/// The host, in the order of its imports.
const HOST: [(&str, &str); 6] = modules![
    "tollgate_frames",
    "tollgate_logs",
    "tollgate_client",
    "tollgate_check",
    "tollgate_worker",
    "tollgate_zygote",
];

/// How to start a process that does nothing but call [`launcher_main`].
#[derive(Debug, Clone)]
pub struct LauncherSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl LauncherSpec {
    /// This very binary with [`LAUNCH_ARG`], on which its `main` must call [`launcher_main`].
    ///
    /// # Errors
    /// When the path of the running binary is not known.
    pub fn this_binary() -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            args: vec![LAUNCH_ARG.to_owned()],
        })
    }

    /// This very test binary. Its root module needs
    /// `#[test] fn launcher_entry() { tollgate_runtimes::launch_if_asked(); }`.
    ///
    /// # Errors
    /// When the path of the running binary is not known.
    pub fn this_test_binary() -> io::Result<Self> {
        // With one test thread the harness runs the test on the main thread, as a launcher must.
        let args = [TEST_ENTRY, "--exact", "--test-threads=1", "--nocapture"];
        Ok(Self {
            program: std::env::current_exe()?,
            args: args.map(str::to_owned).to_vec(),
        })
    }

    /// The command, with an environment that says what it is and holds nothing else.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env(LAUNCH_VARIABLE, "1");
        command
    }
}

/// What the launcher is to do: the first message on its control socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The interpreter.
    pub(super) python: PathBuf,
    /// Where it runs.
    pub(super) scratch_dir: PathBuf,
    /// Open files of one process.
    pub(super) open_files: u64,
    /// Largest file, in bytes.
    pub(super) file_bytes: u64,
    /// Processes and threads of the user beyond those that it has already.
    pub(super) processes: u64,
}

/// What the launcher says before it ends without becoming the interpreter.
#[derive(Debug, Serialize)]
struct Fatal<'a> {
    op: &'static str,
    step: &'a str,
    error: String,
}

type Step = fn(&Plan) -> io::Result<()>;

/// Everything that is done before the interpreter starts, in order.
///
/// Whoever adds a change of user must put it before `parent_death`: a change of credentials clears
/// that signal.
const STEPS: &[(&str, Step)] = &[
    ("session", session),
    ("subreaper", subreaper),
    ("parent_death", parent_death),
    ("resource_limits", resource_limits),
    ("process_limit", process_limit),
    ("descriptors", descriptors),
    ("scratch_dir", scratch_dir),
];

/// Becomes a launcher if this process was started as one; otherwise does nothing.
///
/// For test binaries. The program itself recognises [`LAUNCH_ARG`] and calls [`launcher_main`].
pub fn launch_if_asked() {
    if std::env::var_os(LAUNCH_VARIABLE).is_some() {
        launcher_main();
    }
}

/// The launcher. Must be called before the process has a second thread; never returns.
pub fn launcher_main() -> ! {
    let (step, error) = match receive_plan() {
        Err(error) => ("plan", error),
        Ok(plan) => match follow(&plan) {
            Err((step, error)) => (step, error),
            Ok(never) => match never {},
        },
    };
    let report = Fatal {
        op: "fatal",
        step,
        error: error.to_string(),
    };
    if let Ok(text) = serde_json::to_vec(&report) {
        // If nobody listens any more there is nobody to tell.
        let _ = rustix::net::send(io::stdin(), &text, SendFlags::NOSIGNAL);
    }
    std::process::exit(1);
}

fn receive_plan() -> io::Result<Plan> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let (length, _) = rustix::net::recv(io::stdin(), &mut buffer, RecvFlags::empty())?;
    Ok(serde_json::from_slice(&buffer[..length])?)
}

fn follow(plan: &Plan) -> Result<Infallible, (&'static str, io::Error)> {
    for &(name, step) in STEPS {
        step(plan).map_err(|error| (name, error))?;
    }
    Err(("exec", exec(plan)))
}

/// No terminal, and a process group of its own.
fn session(_: &Plan) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// What a worker leaves behind becomes a child of the zygote, which kills it.
fn subreaper(_: &Plan) -> io::Result<()> {
    // Any value but none switches it on.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The end of the server reaches the zygote as SIGTERM as well as through its socket.
///
/// Not SIGKILL: the zygote must live long enough to kill what has left its workers' sessions.
fn parent_death(_: &Plan) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    Ok(())
}

fn resource_limits(plan: &Plan) -> io::Result<()> {
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, plan.open_files)?;
    limit(Resource::Fsize, plan.file_bytes)
}

/// The limit counts all threads of the user, also those outside, so these are added to it.
/// It does not bind root at all.
fn process_limit(plan: &Plan) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    limit(
        Resource::Nproc,
        plan.processes.saturating_add(threads_of_user()),
    )
}

fn threads_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::geteuid().as_raw();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let threads = processes
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == me))
        .filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok())
        .map(Iterator::count)
        .sum::<usize>();
    u64::try_from(threads).unwrap_or(u64::MAX)
}

/// Sets both limits; never raises a hard limit that is already lower.
fn limit(resource: Resource, wanted: u64) -> io::Result<()> {
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

#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
fn descriptors(_: &Plan) -> io::Result<()> {
    // SAFETY: the call touches no memory. No object of this process owns a descriptor above 2 that
    // is used afterwards: the launcher opened none, and its standard streams are 0, 1 and 2.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn scratch_dir(plan: &Plan) -> io::Result<()> {
    std::env::set_current_dir(&plan.scratch_dir)
}

/// Replaces this process by the interpreter. Returns only if that fails.
fn exec(plan: &Plan) -> io::Error {
    let script = match host_script() {
        Ok(script) => script,
        Err(error) => return error,
    };
    if script.as_raw_fd() != 3 {
        return io::Error::other("the host script did not get descriptor 3");
    }
    Command::new(&plan.python)
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
        // One allocator arena: others each reserve 64 MiB of a worker's address space.
        .env("MALLOC_ARENA_MAX", "1")
        .exec()
}

/// The host script in memory, so that there is no file to tamper with.
fn host_script() -> io::Result<std::fs::File> {
    use std::io::Seek as _;
    let mut script = std::fs::File::from(rustix::fs::memfd_create(
        "tollgate-host",
        MemfdFlags::empty(),
    )?);
    script.write_all(&serde_json::to_vec(&HOST)?)?;
    script.rewind()?;
    Ok(script)
}

impl Plan {
    /// The plan for `python`, with the engine's limits.
    pub(super) fn new(python: PathBuf, scratch_dir: PathBuf) -> Self {
        Self {
            python,
            scratch_dir,
            open_files: limits::OPEN_FILES,
            file_bytes: limits::FILE_BYTES,
            processes: limits::PROCESSES,
        }
    }
}
