//! `tollgate invocations` and `tollgate dead-letters`.

use super::{Remote, Times};
use clap::{Args, Subcommand, ValueEnum};

/// Which runs are meant.
#[derive(Debug, Args)]
pub(crate) struct RunFilter {
    /// Of this function
    #[arg(long, value_name = "SLUG")]
    pub(crate) function: Option<String>,
    /// Of the functions of this app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: Option<String>,
    /// Caused by this event type
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// In this state, for example "failed", or "FAILURE" for all that came to nothing
    #[arg(long)]
    pub(crate) status: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Invocations {
    /// The last runs, newest first
    List {
        #[command(flatten)]
        filter: RunFilter,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a run: its attempts, logs, verdict, parameters and result
    Show {
        /// The run's number
        id: i64,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show runs as they happen, until interrupted
    Tail {
        #[command(flatten)]
        filter: RunFilter,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run an earlier run again, as a new one with the same parameters
    Replay {
        /// The run's number
        id: i64,
        /// Which version runs
        #[arg(long, value_enum, default_value_t = Version::Active)]
        version: Version,
        /// Queue it and do not wait
        #[arg(long)]
        r#async: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which version of a function runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// The one that is active now
    Active,
    /// The one that ran before
    Own,
}

impl Version {
    /// The word that the API reads.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Own => "own",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one with its attempts, traceback, logs and parameters
    Show {
        /// Its number
        id: i64,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run one again, or all that match
    Redrive {
        /// Its number; without it, a filter or --all
        #[arg(conflicts_with_all = ["all", "function", "event", "kind", "app", "limit"])]
        id: Option<i64>,
        /// Every dead letter
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// Most to redrive [default: all that match]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Which version runs
        #[arg(long, value_enum, default_value_t = Version::Active)]
        version: Version,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give one up: it becomes failed history
    Discard {
        /// Its number
        id: i64,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterFilter {
    /// Of this function
    #[arg(long, value_name = "SLUG")]
    pub(crate) function: Option<String>,
    /// Caused by this event type
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Whose last attempt failed like this, for example "exception" or "timeout"
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Of the functions of this app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: Option<String>,
}
