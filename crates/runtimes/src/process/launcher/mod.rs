//! The launcher: our own binary, run again, that walls itself in and becomes the interpreter, or the
//! [`nursery`] that starts interpreters which cannot fork.
//!
//! It runs before any thread exists, because what it sets binds a thread or a process for good.
//! The walls stand in [`confine`]; without them, [`open`] does the rest. It must never run function
//! code, open a file of the server's, or keep a descriptor besides its control socket (0),
//! `/dev/null` (1), the error pipe (2), the host script (3), and what that script names.

mod confine;
mod host;
mod landlock;
mod namespaces;
mod newborn;
mod node;
mod nursery;
mod once;
mod seccomp;
mod steps;

use super::claim::{self, Claim};
use super::language::Language;
use super::scratch;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use tollgate_core::confinement::Walls;
use tollgate_core::limits;

/// The hidden first argument with which the server starts its own binary as a launcher.
pub const LAUNCH_ARG: &str = "__launch";

/// Set in a launcher's environment, and in no other process's.
const LAUNCH_VARIABLE: &str = "TOLLGATE_LAUNCH";

/// Where the folder for workers' folders is made if the launcher is root: the server's own folder is
/// closed to the user that functions run as.
const SHARED: &str = "/tmp";

/// The name that a test of an ordinary test binary must have to serve as launcher.
const TEST_ENTRY: &str = "launcher_entry";

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
pub(in crate::process) struct Plan {
    /// What its workers speak.
    pub(super) language: Language,
    /// The interpreter.
    pub(super) program: PathBuf,
    /// Where it runs without walls; with them, where workers have their folders if they can have
    /// none in memory.
    pub(super) scratch_dir: PathBuf,
    /// The name of a folder for workers' folders, if it comes to that.
    pub(super) scratch_name: String,
    /// Open files of one process.
    pub(super) open_files: u64,
    /// Largest file, in bytes.
    pub(super) file_bytes: u64,
    /// Processes and threads of the user beyond those that it has already.
    pub(super) processes: u64,
    /// The walls; none if the operator has switched them off.
    pub(super) sandbox: Option<Sandbox>,
}

/// What the walls are to let through.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::process) struct Sandbox {
    /// What the interpreter reads, with everything below.
    pub(super) readable: Vec<PathBuf>,
    /// What a worker is started from, if it is a program of its own.
    pub(super) programs: Vec<PathBuf>,
    /// Threads of one worker, its first included.
    pub(super) threads: u64,
    /// Scratch space of one worker, in bytes.
    pub(super) scratch_bytes: u64,
}

/// What the launcher says of itself.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Word<'a> {
    /// It is about to become the interpreter, behind these walls.
    Walls {
        walls: &'a Walls,
        /// Where each worker has memory of its own for files, as it sees that.
        scratch: Option<&'a Path>,
    },
    /// It ends without becoming the interpreter.
    Fatal {
        step: &'a str,
        error: String,
        /// A further try would end the same way.
        lasting: bool,
    },
}

impl Word<'_> {
    fn say(&self) {
        if let Ok(text) = serde_json::to_vec(self) {
            // If nobody listens any more there is nobody to tell.
            let _ = rustix::net::send(io::stdin(), &text, SendFlags::NOSIGNAL);
        }
    }
}

/// A step that failed.
struct Failed {
    step: &'static str,
    error: io::Error,
    /// Because this machine cannot do it.
    lasting: bool,
}

/// Names the step in which an error happened.
trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, Failed>;
    /// The same for what the machine lacks.
    fn required(self, step: &'static str) -> Result<T, Failed>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, Failed> {
        self.map_err(|error| Failed {
            step,
            error: error.into(),
            lasting: false,
        })
    }

    fn required(self, step: &'static str) -> Result<T, Failed> {
        self.map_err(|error| Failed {
            step,
            error: error.into(),
            lasting: true,
        })
    }
}

/// Becomes a launcher if this process was started as one; otherwise does nothing.
///
/// For test binaries, whose harness has made a thread by then: a child goes on without it. The
/// program itself recognises [`LAUNCH_ARG`] and calls [`launcher_main`].
pub fn launch_if_asked() {
    if std::env::var_os(LAUNCH_VARIABLE).is_none() {
        return;
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 && namespaces::continue_in_child().is_err() {
        std::process::exit(1);
    }
    launcher_main();
}

/// The launcher. Must be called before the process has a second thread; never returns.
pub fn launcher_main() -> ! {
    let outcome = receive_plan()
        .step("plan")
        .and_then(|plan| match &plan.sandbox {
            Some(sandbox) => confine::follow(&plan, sandbox),
            None => open(&plan),
        });
    let Err(Failed {
        step,
        error,
        lasting,
    }) = outcome;
    let error = error.to_string();
    Word::Fatal {
        step,
        error,
        lasting,
    }
    .say();
    std::process::exit(1);
}

fn receive_plan() -> io::Result<Plan> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        io::stdin(),
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    // The entrances of the control groups that this process and all it starts are to be in.
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(entrances) = message {
            for entrance in entrances {
                rustix::io::write(&entrance, b"0")?;
            }
        }
    }
    Ok(serde_json::from_slice(&buffer[..received.bytes])?)
}

/// Everything that is done before the interpreter starts where the operator wants no walls.
///
/// A change of user would have to come before `parent_death`: it clears that signal.
fn open(plan: &Plan) -> Result<Infallible, Failed> {
    steps::session().step("session")?;
    steps::modesty().step("priority")?;
    steps::subreaper().step("subreaper")?;
    steps::parent_death().step("parent_death")?;
    steps::resource_limits(plan).step("resource_limits")?;
    steps::thread_stacks().step("resource_limits")?;
    if !rustix::process::geteuid().is_root() {
        let own = steps::threads_of(rustix::process::geteuid().as_raw());
        steps::process_limit(plan, own).step("process_limit")?;
    }
    steps::descriptors().step("descriptors")?;
    std::env::set_current_dir(&plan.scratch_dir).step("scratch_dir")?;
    let mut script = host::Script::new().step("script")?;
    match plan.language {
        Language::Python => {
            script.write(&host::told(None)).step("script")?;
            Err(host::exec(plan)).step("exec")
        }
        Language::Node => {
            script.write(&node::MODULES).step("script")?;
            nursery::serve(plan, script, None)
        }
    }
}

impl Plan {
    /// Where the launcher's folder on disk is: if it was root, and if not.
    fn scratch_folders(&self) -> [PathBuf; 2] {
        // Not `TMPDIR`: launcher and server differ in their environment.
        [Path::new(SHARED), &self.scratch_dir].map(|parent| parent.join(&self.scratch_name))
    }

    /// Removes what may be left of that folder once all processes are gone.
    pub(super) fn remove_scratch(&self) {
        for folder in self.scratch_folders() {
            if let Err(error) = scratch::remove(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "scratch.left");
            }
        }
    }

    /// Removes what servers that have ended left in `scratch_dir`, and where launchers of root make
    /// their folder, and claims what this one will have there.
    pub(super) fn sweep(scratch_dir: &Path) -> Claim {
        let own = rustix::process::geteuid();
        let places = [scratch_dir, Path::new(SHARED)];
        let places = if own.is_root() {
            &places[..]
        } else {
            &places[..1]
        };
        for place in places {
            claim::sweep(place, &[own.as_raw(), limits::FUNCTION_USER]);
        }
        Claim::make(places)
    }

    /// The plan for `program`, with the engine's limits.
    pub(super) fn new(
        (language, program): (Language, PathBuf),
        scratch_dir: PathBuf,
        claim: &Claim,
        sandbox: Option<Sandbox>,
    ) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            language,
            program,
            scratch_dir,
            scratch_name: claim.folder(count),
            open_files: limits::OPEN_FILES,
            file_bytes: limits::FILE_BYTES,
            processes: limits::SITE_PROCESSES,
            sandbox,
        }
    }
}
