//! What the Python runtime needs to know before it starts, and finding a Python that suits.

use super::launcher::LauncherSpec;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tollgate_core::limits;

/// The oldest Python that the host runs on.
const PYTHON_MIN: (u32, u32) = (3, 9);

/// Settings of the Python runtime.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// The interpreter itself, not a wrapper script: a wrapper needs an environment.
    pub python: PathBuf,
    /// How to start the launcher.
    pub launcher: LauncherSpec,
    /// The folder in which functions run. Created if absent.
    pub scratch_dir: PathBuf,
    /// How long an unused worker is kept.
    pub idle: Duration,
    /// How long the top level of a module may run.
    pub load: Duration,
    /// How long the check of a source may take.
    pub check: Duration,
    /// Most workers, of all functions together. At most [`limits::WORKER_PROCESSES`].
    pub workers_max: usize,
    /// Workers of one version that are started without waiting whether the first ones keep up.
    pub start_eagerly: usize,
}

/// Why no Python can be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Nothing by that name can be run.
    #[error("{} cannot be run ({source}); install Python {}.{} or later, or set its path", program.display(), PYTHON_MIN.0, PYTHON_MIN.1)]
    Missing {
        /// What was tried.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It runs, but is not a Python that answers.
    #[error("{} does not answer like a Python interpreter: {answer}", program.display())]
    Strange {
        /// What was tried.
        program: PathBuf,
        /// What it said.
        answer: String,
    },
    /// It is too old.
    #[error("{} is Python {found}; functions need {}.{} or later", program.display(), PYTHON_MIN.0, PYTHON_MIN.1)]
    TooOld {
        /// What was tried.
        program: PathBuf,
        /// Its version.
        found: String,
    },
}

impl ProcessConfig {
    /// Defaults around a known interpreter.
    pub fn new(python: PathBuf, launcher: LauncherSpec, scratch_dir: PathBuf) -> Self {
        Self {
            python,
            launcher,
            scratch_dir,
            idle: Duration::from_secs(60),
            load: Duration::from_secs(10),
            check: Duration::from_secs(5),
            workers_max: limits::WORKER_PROCESSES,
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
        Ok(Self::new(interpreter(python)?, launcher, scratch_dir))
    }
}

/// The path of the interpreter behind `program`, which may be a wrapper.
fn interpreter(program: &Path) -> Result<PathBuf, DiscoverError> {
    const QUESTION: &str =
        "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
    let answer = Command::new(program)
        .args(["-I", "-c", QUESTION])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DiscoverError::Missing {
            program: program.to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let mut words = text.trim().splitn(3, ' ');
    let (major, minor) = (words.next(), words.next());
    let version = major
        .zip(minor)
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (Some(version), Some(path)) = (version, words.next().filter(|path| !path.is_empty()))
    else {
        let shown = if text.trim().is_empty() {
            &answer.stderr
        } else {
            &answer.stdout
        };
        let shown = String::from_utf8_lossy(shown);
        return Err(DiscoverError::Strange {
            program: program.to_owned(),
            answer: tollgate_core::text::prefix(shown.trim(), 300).to_owned(),
        });
    };
    if version < PYTHON_MIN {
        let found = format!("{}.{}", version.0, version.1);
        return Err(DiscoverError::TooOld {
            program: program.to_owned(),
            found,
        });
    }
    Ok(PathBuf::from(path))
}
