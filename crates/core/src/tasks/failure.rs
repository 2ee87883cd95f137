//! Why an attempt gave no result.
//!
//! Must never say what follows from it: that is for [`super::machine`] to decide.

use crate::text::text_enum;
use crate::{limits, text};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why a run gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The code raised.
    Exception,
    /// The deadline passed.
    Timeout,
    /// The worker process ended.
    Crashed,
    /// A limit was reached: memory, output, logs.
    Limit,
    /// The result is not JSON.
    NotJson,
    /// The code does not load.
    Load,
    /// A proxy's target answered with a failure, or not at all.
    Upstream,
    /// A proxy's target answered 410: it is gone for good.
    Gone,
    /// A proxy's target failed too often in a row and is left alone for a while.
    CircuitOpen,
    /// The run was stopped because its result was no longer wanted.
    Cancelled,
    /// The function was deleted.
    Deleted,
    /// The function was switched off.
    Inactive,
    /// No runtime could take it. If nobody waits for it, that uses up no attempt.
    Unavailable,
    /// A chain of events or calls grew too deep.
    Chain,
    /// A returned enrichment is not allowed or not valid.
    Enrichment,
    /// A filter could not be evaluated, so nobody knows whether the function had to run.
    Filter,
    /// Its worker was lost, or stopped, while it ran. It runs again; a dead letter, if that happened too
    /// often.
    Lost,
    /// The stored record cannot be read.
    Corrupt,
}

text_enum!(FailureKind {
    Exception => "exception",
    Timeout => "timeout",
    Crashed => "crashed",
    Limit => "limit",
    NotJson => "not_json",
    Load => "load",
    Upstream => "upstream",
    Gone => "gone",
    CircuitOpen => "circuit_open",
    Cancelled => "cancelled",
    Deleted => "deleted",
    Inactive => "inactive",
    Unavailable => "unavailable",
    Chain => "chain",
    Enrichment => "enrichment",
    Filter => "filter",
    Lost => "lost",
    Corrupt => "corrupt",
});

impl FailureKind {
    /// Whether a dead letter may have ended so: nobody waited for it, and its function is there.
    pub const fn is_of_dead_letters(self) -> bool {
        match self {
            Self::Cancelled | Self::Deleted | Self::Enrichment => false,
            Self::Exception
            | Self::Timeout
            | Self::Crashed
            | Self::Limit
            | Self::NotJson
            | Self::Load
            | Self::Upstream
            | Self::Gone
            | Self::CircuitOpen
            | Self::Inactive
            | Self::Unavailable
            | Self::Chain
            | Self::Filter
            | Self::Lost
            | Self::Corrupt => true,
        }
    }

    /// Whether a run of the PRE stage may end so: somebody waits for it.
    pub const fn is_of_pre_runs(self) -> bool {
        match self {
            Self::Lost | Self::Corrupt => false,
            Self::Exception
            | Self::Timeout
            | Self::Crashed
            | Self::Limit
            | Self::NotJson
            | Self::Load
            | Self::Upstream
            | Self::Gone
            | Self::CircuitOpen
            | Self::Cancelled
            | Self::Deleted
            | Self::Inactive
            | Self::Unavailable
            | Self::Chain
            | Self::Enrichment
            | Self::Filter => true,
        }
    }

    /// Whether a last attempt that ended so is one of `max_attempts`.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Unavailable | Self::Lost)
    }

    /// Whether another attempt cannot end differently.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::NotJson
            | Self::Load
            | Self::Gone
            | Self::Cancelled
            | Self::Deleted
            | Self::Inactive
            | Self::Chain
            | Self::Filter
            | Self::Lost
            | Self::Corrupt => true,
            Self::Exception
            | Self::Timeout
            | Self::Crashed
            | Self::Limit
            | Self::Upstream
            | Self::CircuitOpen
            | Self::Unavailable
            | Self::Enrichment => false,
        }
    }
}

/// A failed run, with what its author needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of failure.
    pub kind: FailureKind,
    /// One or two sentences, at most [`limits::ERROR_BYTES`].
    pub message: String,
    /// The traceback in the author's own line numbers.
    pub traceback: Option<String>,
    /// How long the other side asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without traceback. Too long a message is cut.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(text::prefix(&message, limits::ERROR_BYTES).len());
        Self {
            kind,
            message,
            traceback: None,
            retry_after: None,
        }
    }

    /// The same with a traceback. Too long a one loses its beginning: the end names the cause.
    #[must_use]
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        let traceback = traceback.into();
        let mut start = traceback.len().saturating_sub(limits::ERROR_BYTES);
        while !traceback.is_char_boundary(start) {
            start += 1;
        }
        self.traceback = Some(traceback[start..].to_owned());
        self
    }
}
