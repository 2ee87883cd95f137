//! What the runtime needs to know before it starts, and finding a Python that suits.

use super::language::Language;
use super::launcher::{LauncherSpec, Sandbox};
use super::node;
use crate::outbound::Outbound;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;

/// The oldest Python that the host runs on.
const PYTHON_MIN: (u32, u32) = (3, 9);

/// An interpreter and the files that it needs to run.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The interpreter itself, not a wrapper script: a wrapper needs an environment.
    pub program: PathBuf,
    /// Where its modules and libraries lie: absolute paths, each with everything below.
    pub library: Vec<PathBuf>,
}

/// Settings of the runtime.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// The interpreter of Python.
    pub python: Interpreter,
    /// That of Node, or why no function in it runs.
    pub node: Result<Interpreter, String>,
    /// How to start the launcher.
    pub launcher: LauncherSpec,
    /// The folder in which functions run where they have none in memory. Created if absent.
    pub scratch_dir: PathBuf,
    /// Whether functions run behind walls, or not at all where these cannot stand.
    pub sandbox: bool,
    /// Memory of all workers together, in bytes; none for three quarters of the machine's.
    pub memory_bytes: Option<u64>,
    /// Whether control groups are made where they can be had.
    pub control_groups: bool,
    /// What no function may come to see: a start is refused if the interpreter's files contain it.
    pub hidden: Vec<PathBuf>,
    /// Makes the requests of functions with `network: egress`; none lets nobody out.
    pub outbound: Option<Outbound>,
    /// How long an unused worker is kept.
    pub idle: Duration,
    /// How long a host may say nothing to the order to start a worker, and a new worker until it begins, before
    /// it is replaced.
    pub begin: Duration,
    /// How long the top level of a module may run.
    pub load: Duration,
    /// How long the check of a source may take.
    pub check: Duration,
    /// Most workers, of all functions together. At most [`limits::WORKER_PROCESSES`].
    pub workers_max: usize,
    /// Most workers of one site. At most [`limits::WORKERS_PER_SITE`].
    pub workers_per_site: usize,
    /// Most hosts of one language: one for each site that runs functions in it. At most [`limits::HOSTS`].
    pub hosts_max: usize,
    /// How long a host without workers is kept.
    pub host_idle: Duration,
    /// Workers of one version that are started without waiting whether the first ones keep up.
    pub start_eagerly: usize,
    /// Watches the loops.
    pub supervisor: Supervisor,
}

/// Why no interpreter can be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Nothing by that name can be run.
    #[error("{} cannot be run ({source}); install {needs} or later, or set its path", program.display())]
    Missing {
        /// What was tried.
        program: PathBuf,
        /// Language and version.
        needs: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It runs, but does not answer like the interpreter that it should be.
    #[error("{} does not answer like a {title} interpreter: {answer}", program.display())]
    Strange {
        /// What was tried.
        program: PathBuf,
        /// The language.
        title: &'static str,
        /// What it said.
        answer: String,
    },
    /// It is too old.
    #[error("{} is {found}; functions need {needs} or later", program.display())]
    TooOld {
        /// What was tried.
        program: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needs: String,
    },
}

impl ProcessConfig {
    /// Defaults around a known interpreter.
    pub fn new(python: Interpreter, launcher: LauncherSpec, scratch_dir: PathBuf) -> Self {
        Self {
            python,
            node: Err("no Node is named".to_owned()),
            launcher,
            scratch_dir,
            sandbox: true,
            memory_bytes: None,
            control_groups: true,
            hidden: Vec::new(),
            outbound: None,
            idle: Duration::from_secs(60),
            begin: limits::BEGIN_TIME,
            load: Duration::from_secs(10),
            check: Duration::from_secs(5),
            workers_max: limits::WORKER_PROCESSES,
            workers_per_site: limits::WORKERS_PER_SITE,
            supervisor: Supervisor::default(),
            hosts_max: limits::HOSTS,
            host_idle: limits::HOST_IDLE,
            start_eagerly: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Asks `python` (a path, or a name looked up in `PATH`) for its interpreter and version.
    ///
    /// Blocks for the start of an interpreter, about 20 ms.
    ///
    /// # Errors
    /// [`DiscoverError`].
    pub fn discover(
        python: &Path,
        launcher: LauncherSpec,
        scratch_dir: PathBuf,
    ) -> Result<Self, DiscoverError> {
        let python = Interpreter::find(python)?;
        Ok(Self::new(python, launcher, scratch_dir))
    }

    /// The interpreter of a language, or why there is none.
    pub(super) fn interpreter(&self, language: Language) -> Result<&Interpreter, String> {
        match language {
            Language::Python => Ok(&self.python),
            Language::Node => self.node.as_ref().map_err(Clone::clone),
        }
    }

    /// What the walls let through; none without walls.
    ///
    /// # Errors
    /// When the interpreter's files contain what is to be hidden.
    pub(super) fn walls(
        &self,
        language: Language,
        interpreter: &Interpreter,
    ) -> Result<Option<Sandbox>, String> {
        if !self.sandbox {
            return Ok(None);
        }
        let (title, readable) = (language.title(), interpreter.readable());
        for hidden in &self.hidden {
            let hidden = hidden.canonicalize().unwrap_or_else(|_| hidden.clone());
            let shown = readable.iter().find(|path| {
                let path = path.canonicalize().unwrap_or_else(|_| (*path).clone());
                hidden.starts_with(path)
            });
            if let Some(shown) = shown {
                return Err(format!(
                    "functions can read {}, where {title}'s modules lie, and {} is in it; move one of \
                     them",
                    shown.display(),
                    hidden.display()
                ));
            }
        }
        if let Some(shown) = readable.iter().find(|path| path.starts_with(SCRATCH_ALIAS)) {
            return Err(format!(
                "{} is needed to run {title} and lies below {SCRATCH_ALIAS}, which is where functions \
                 have their own files; install the interpreter or virtual environment elsewhere",
                shown.display()
            ));
        }
        // A host that forks its workers starts no program for them.
        let programs = match language {
            Language::Python => Vec::new(),
            Language::Node => node::programs(&interpreter.program),
        };
        Ok(Some(Sandbox {
            readable,
            programs,
            threads: limits::WORKER_THREADS,
            scratch_bytes: limits::SCRATCH_BYTES,
        }))
    }

    /// Memory of all workers together, in bytes.
    pub(super) fn memory_together(&self) -> u64 {
        let memory = rustix::system::sysinfo();
        let machine = memory.totalram.saturating_mul(u64::from(memory.mem_unit));
        self.memory_bytes
            .unwrap_or(machine / 100 * limits::FUNCTION_MEMORY_PERCENT)
    }
}

/// What functions take for a folder for files of their own, which must therefore not be the
/// interpreter's.
const SCRATCH_ALIAS: &str = "/tmp";

/// What every program needs besides its own files: shared libraries and how to find them, time
/// zones, and the certificates that Python's `ssl` looks for.
const SYSTEM: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];

/// What an interpreter is asked: one JSON object on one line.
const QUESTION: &str = "\
import json, os, sys
roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
names = ('lib', 'lib64', 'pyvenv.cfg')
paths = [os.path.join(root, name) for root in sorted(roots) for name in names]
paths += [sys.executable, os.path.realpath(sys.executable), *sys.path]
print(json.dumps([sys.version_info[:2], sys.executable, paths]))
";

impl Interpreter {
    /// Asks `program`, which may be a wrapper, for the interpreter behind it.
    ///
    /// # Errors
    /// [`DiscoverError`].
    pub fn find(program: &Path) -> Result<Self, DiscoverError> {
        question(program, &["-I", "-c", QUESTION], "Python", PYTHON_MIN)
    }

    /// Everything that has to be readable, sorted, so that a folder comes before what is in it.
    fn readable(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = SYSTEM.iter().map(PathBuf::from).collect();
        paths.extend(self.library.iter().cloned());
        paths.push(self.program.clone());
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Asks `program` for its version, its own path, and where its files lie.
pub(super) fn question(
    program: &Path,
    asked: &[&str],
    title: &'static str,
    least: (u32, u32),
) -> Result<Interpreter, DiscoverError> {
    let needs = format!("{title} {}.{}", least.0, least.1);
    let answer = Command::new(program)
        .args(asked)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DiscoverError::Missing {
            program: program.to_owned(),
            needs: needs.clone(),
            source,
        })?;
    let parsed = serde_json::from_slice::<((u32, u32), PathBuf, Vec<PathBuf>)>(&answer.stdout);
    let Some((version, path, library)) = parsed.ok().filter(|(_, path, _)| path.is_absolute())
    else {
        let text = String::from_utf8_lossy(&answer.stdout);
        let shown = if text.trim().is_empty() {
            String::from_utf8_lossy(&answer.stderr)
        } else {
            text
        };
        return Err(DiscoverError::Strange {
            program: program.to_owned(),
            title,
            answer: tollgate_core::text::prefix(shown.trim(), 300).to_owned(),
        });
    };
    if version < least {
        return Err(DiscoverError::TooOld {
            program: program.to_owned(),
            found: format!("{title} {}.{}", version.0, version.1),
            needs,
        });
    }
    Ok(Interpreter {
        program: path,
        library: library
            .into_iter()
            .filter(|path| path.is_absolute() && path.exists())
            .collect(),
    })
}
