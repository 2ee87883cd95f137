//! Why an operation did not happen.

use std::error::Error as StdError;
use std::fmt;
use tollgate_core::engine::verdict::Refusal;
use tollgate_core::error::Error;

/// Why [`Tollgate::around`](crate::Tollgate::around) saved nothing.
#[derive(Debug)]
pub enum AroundError<E> {
    /// A function refused, or broke.
    Refused(Box<Refusal>),
    /// The closure failed, with this.
    Save(E),
    /// The engine could not: its database, its queue, a chain of events that is too deep.
    Engine(Error),
}

impl<E> AroundError<E> {
    pub(crate) fn of(error: Error) -> Self {
        match error {
            Error::PreStage(refusal) => Self::Refused(refusal),
            error => Self::Engine(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for AroundError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Save(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for AroundError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Save(error) => Some(error),
            Self::Engine(error) => Some(error),
        }
    }
}
