//! Python functions in an embedding program.
//!
//! Each site's interpreters are started by this same program, which puts up the walls and then becomes the interpreter:
//! so the first thing in `main`, before any thread, is [`launch_if_asked`].

use std::path::PathBuf;
use tollgate_runtimes::LauncherSpec;

pub use tollgate_runtimes::{LAUNCH_ARG, launcher_main};

/// Becomes the launcher of an interpreter if this process was started to be one. Call it first in `main`, before any
/// thread exists; it returns in the program itself and never in a launcher.
pub fn launch_if_asked() {
    let asked = std::env::args_os().nth(1);
    if asked.is_some_and(|first| first == LAUNCH_ARG) {
        launcher_main();
    }
}

/// How Python functions run.
#[derive(Debug, Clone)]
pub struct Python {
    pub(crate) program: PathBuf,
    pub(crate) sandbox: bool,
    pub(crate) launcher: Option<LauncherSpec>,
}

impl Default for Python {
    /// `python3`, found on the path, behind all walls.
    fn default() -> Self {
        Self {
            program: PathBuf::from("python3"),
            sandbox: true,
            launcher: None,
        }
    }
}

impl Python {
    /// Another interpreter: 3.9 or later.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Takes the walls away: function code can do whatever this program can. For machines whose kernel has none.
    #[must_use]
    pub const fn without_walls(mut self) -> Self {
        self.sandbox = false;
        self
    }

    /// Starts interpreters by another program than this one.
    #[must_use]
    pub fn launcher(mut self, launcher: LauncherSpec) -> Self {
        self.launcher = Some(launcher);
        self
    }
}
