//! The languages that functions run in: what differs between them, as data.

use serde::{Deserialize, Serialize};
use tollgate_core::functions::Environment;
use tollgate_core::limits;

/// A language of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// CPython. Its host forks workers.
    Python,
    /// Node.js. Its host is ours, and starts an interpreter for each worker.
    Node,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// That of an environment.
    pub const fn of(environment: Environment) -> Self {
        match environment {
            Environment::Python => Self::Python,
            Environment::Node => Self::Node,
        }
    }

    /// The name for programs: of workers, and of its section in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node",
        }
    }

    /// What a worker takes itself, beside the memory that its function may have.
    pub(super) const fn overhead_bytes(self) -> u64 {
        match self {
            Self::Python => limits::WORKER_OVERHEAD_BYTES,
            Self::Node => limits::NODE_OVERHEAD_BYTES,
        }
    }

    /// Whether a worker's host makes what the worker shares with the server, and hands it out. Else the server
    /// makes it, and the host hands it in.
    pub(super) const fn hands_out(self) -> bool {
        matches!(self, Self::Node)
    }
}
