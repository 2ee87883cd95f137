//! The life of a task as a pure function: `(task, input) → task`.
//!
//! Storage and workers carry out what this module decides and decide nothing themselves. It must
//! never look at a clock, draw a random number or touch a row: those come in as inputs.
//!
//! ```text
//!          Take, Start           Succeed
//! pending ──────────► running ──────────► succeeded
//!    ▲  ▲                │ Fail
//!    │  └─ Release, Lose ┤────────► retrying ──Take──► pending
//!    │                   │────────► dead        (nobody waits, attempts used up)
//!    │                   │────────► failed      (a caller waits)
//!    │                   │────────► timed_out   (a caller waits, deadline passed)
//!    │ Redrive           └────────► cancelled
//!  dead ──Discard──► failed
//! ```
//!
//! A taken task is pending until its worker notes that it has begun. Short runs end without that
//! note: every input for `running` is one for a taken `pending` as well.

use super::FailureKind;
use crate::text::text_enum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Who waits for a run, which decides what happens to it when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// A caller: PRE and synchronous calls. Without the caller the run has no purpose.
    Caller,
    /// Nobody: POST and queued calls. They run until they have ended.
    Nobody,
}

text_enum!(Waiter { Caller => "caller", Nobody => "nobody" });

/// Where an invocation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Written; not begun, as far as anybody has noted.
    Pending,
    /// An attempt is under way.
    Running,
    /// An attempt failed; the next one has a date.
    Retrying,
    /// Ended with a result.
    Succeeded,
    /// Ended without a result, told to the caller who waited.
    Failed,
    /// Ended at its deadline, told to the caller who waited.
    TimedOut,
    /// Ended because nobody wanted the result any more.
    Cancelled,
    /// Every attempt failed: a dead letter, kept until someone acts on it.
    Dead,
}

text_enum!(State {
    Pending => "pending",
    Running => "running",
    Retrying => "retrying",
    Succeeded => "succeeded",
    Failed => "failed",
    TimedOut => "timed_out",
    Cancelled => "cancelled",
    Dead => "dead",
});

impl State {
    /// Whether the task has ended. A dead letter has ended, though it may be redriven.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Retrying => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Dead => true,
        }
    }

    /// The coarser word that existing clients read: `PENDING STARTED RETRY SUCCESS FAILURE`.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "STARTED",
            Self::Retrying => "RETRY",
            Self::Succeeded => "SUCCESS",
            Self::Failed | Self::TimedOut | Self::Cancelled | Self::Dead => "FAILURE",
        }
    }

    /// The states behind one of the coarser words.
    pub fn with_status(status: &str) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|state| state.status() == status)
            .collect()
    }
}

/// Which attempt it is, and how many before it do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// From 1; a higher one never gives way to a lower one.
    pub number: u32,
    /// Attempts that began and were lost with their worker, that were put off, or that no runtime
    /// could take: not the function's fault.
    pub uncounted: u32,
}

impl Attempt {
    /// The first.
    pub const FIRST: Self = Self {
        number: 1,
        uncounted: 0,
    };
}

/// What the rules need to know of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Where it stands.
    pub state: State,
    /// Whether a worker has it.
    pub held: bool,
    /// 1 on the first attempt; 0 before any.
    pub attempt: u32,
    /// How many of these do not count.
    pub uncounted: u32,
    /// Attempts allowed, at least 1.
    pub max_attempts: u32,
    /// Who waits for it.
    pub waiter: Waiter,
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A worker takes it, for the next attempt.
    Take,
    /// The worker notes that the attempt begins.
    Start,
    /// The attempt returned a result.
    Succeed,
    /// The attempt gave none.
    Fail(FailureKind),
    /// The worker that held it stopped and handed it back.
    Release,
    /// The worker's lease ended: it is taken for dead.
    Lose,
    /// Someone wants a dead letter run again.
    Redrive,
    /// Nobody wants a dead letter run again: it becomes history.
    Discard,
}

/// An input that the task's state does not allow, for example a second result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state} does not take {input}")]
pub struct Refused {
    /// Where the task stands, and stays.
    pub state: State,
    /// The input's name.
    pub input: &'static str,
}

impl Task {
    /// Applies one input.
    ///
    /// # Errors
    /// [`Refused`] when the state does not allow it; the task is unchanged then.
    pub fn apply(self, input: Input) -> Result<Self, Refused> {
        match (self.state, input) {
            (State::Pending | State::Retrying, Input::Take) if !self.held => Ok(Self {
                state: State::Pending,
                held: true,
                attempt: self.attempt + 1,
                ..self
            }),
            (State::Pending, Input::Start) if self.held => Ok(Self {
                state: State::Running,
                ..self
            }),
            (State::Pending | State::Running, Input::Succeed) if self.held => Ok(Self {
                state: State::Succeeded,
                held: false,
                ..self
            }),
            (State::Pending | State::Running, Input::Fail(kind)) if self.held => {
                Ok(self.fail(kind))
            }
            (State::Pending | State::Running, Input::Release) if self.held => Ok(self.release()),
            (State::Pending | State::Running, Input::Lose) if self.held => Ok(self.lose()),
            (State::Dead, Input::Redrive) => Ok(Self {
                state: State::Pending,
                attempt: 0,
                uncounted: 0,
                ..self
            }),
            (State::Dead, Input::Discard) => Ok(Self {
                state: State::Failed,
                ..self
            }),
            (state, input) => Err(Refused {
                state,
                input: input.name(),
            }),
        }
    }

    fn fail(self, kind: FailureKind) -> Self {
        let uncounted = self.is_uncounted(kind);
        let total = self.uncounted + u32::from(uncounted);
        let state = match (kind, self.waiter) {
            (FailureKind::Cancelled, _) => State::Cancelled,
            (FailureKind::Timeout, Waiter::Caller) => State::TimedOut,
            (_, Waiter::Caller) => State::Failed,
            // The function is gone: nothing that a redrive could run.
            (FailureKind::Deleted, Waiter::Nobody) => State::Failed,
            (kind, Waiter::Nobody) if kind.is_permanent() => State::Dead,
            (_, Waiter::Nobody) if uncounted && total < crate::limits::UNCOUNTED_MAX => {
                State::Retrying
            }
            (_, Waiter::Nobody) if uncounted => State::Dead,
            (_, Waiter::Nobody) if self.used() >= self.max_attempts => State::Dead,
            (_, Waiter::Nobody) => State::Retrying,
        };
        Self {
            state,
            held: false,
            uncounted: total,
            ..self
        }
    }

    /// Whether the attempt is none of the function's: the server could not make it, or put it off
    /// because its target is left alone for a while, unless that has happened too often.
    fn is_uncounted(self, kind: FailureKind) -> bool {
        let not_made = match kind {
            FailureKind::Unavailable => true,
            FailureKind::CircuitOpen => self.uncounted < crate::limits::PUT_OFF_MAX,
            _ => false,
        };
        not_made && self.waiter == Waiter::Nobody
    }

    /// Attempts that count.
    const fn used(self) -> u32 {
        self.attempt.saturating_sub(self.uncounted)
    }

    /// As a release; but what takes one worker after the other down with it must come to an end.
    fn lose(self) -> Self {
        let uncounted = self.uncounted + 1;
        match (self.waiter, self.state) {
            (Waiter::Nobody, State::Running) if uncounted >= crate::limits::UNCOUNTED_MAX => Self {
                state: State::Dead,
                held: false,
                uncounted,
                ..self
            },
            _ => self.release(),
        }
    }

    /// A stopped worker is not the function's fault, so no attempt is ever "used up" by it. What
    /// was not noted as begun gives its attempt back, as if it had never been taken.
    fn release(self) -> Self {
        let state = match self.waiter {
            Waiter::Caller => State::Cancelled,
            Waiter::Nobody => State::Pending,
        };
        let (attempt, uncounted) = match (self.waiter, self.state) {
            (Waiter::Nobody, State::Running) => (self.attempt, self.uncounted + 1),
            (Waiter::Nobody, _) => (self.attempt.saturating_sub(1), self.uncounted),
            (Waiter::Caller, _) => (self.attempt, self.uncounted),
        };
        Self {
            state,
            held: false,
            attempt,
            uncounted,
            ..self
        }
    }
}

impl Input {
    const fn name(self) -> &'static str {
        match self {
            Self::Take => "a worker",
            Self::Start => "a start",
            Self::Succeed => "a result",
            Self::Fail(_) => "a failure",
            Self::Release => "a release",
            Self::Lose => "the end of its lease",
            Self::Redrive => "a redrive",
            Self::Discard => "a discard",
        }
    }
}

/// The delay before attempt `attempt + 1`: exponential, capped, half of it jitter.
///
/// `random` is any number; `asked` is a `Retry-After` and wins when it is longer (up to the cap),
/// with an eighth of jitter on top: those who were told the same do not all come at once.
pub fn retry_delay(attempt: u32, random: u64, asked: Option<Duration>) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let full = crate::limits::RETRY_BASE
        .saturating_mul(1 << doublings)
        .min(crate::limits::RETRY_MAX);
    let jitter = |most: Duration| {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(random % (micros + 1))
    };
    let asked = asked.unwrap_or_default().min(crate::limits::RETRY_MAX);
    (full / 2 + jitter(full / 2))
        .max(asked + jitter(asked / 8))
        .min(crate::limits::RETRY_MAX)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
