//! Why an operation did not happen: one closed type, without transport codes.
//!
//! The server maps each variant to a status and an error code in one exhaustive `match`.

use crate::engine::verdict::Refusal;
use crate::events::{EventType, InvalidEventType};
use crate::functions::CodeError;
use crate::ids::FunctionId;
use crate::invocations::Invocation;
use crate::ports::store::{Conflict, StoreError};
use crate::subscribers::Inactive;
use crate::validation::FieldError;
use std::error::Error as StdError;
use std::time::Duration;

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// Values that cannot be stored, per field.
    #[error("{}", first_message(.0))]
    Validation(Vec<FieldError>),
    /// The name is no event type.
    #[error(transparent)]
    InvalidEventType(#[from] InvalidEventType),
    /// A function subscribes at most once to each event type.
    #[error(
        "Function {function} is already subscribed to event '{event}'{}",
        switched_off(.inactive.as_ref(), *.function, *.event)
    )]
    AlreadySubscribed {
        /// The function.
        function: FunctionId,
        /// The event type.
        event: EventType,
        /// Why that subscription is passed over, if it is.
        inactive: Option<Inactive>,
    },
    /// The subscription to be ended does not exist.
    #[error("Function {function} was not subscribed to event '{event}'")]
    NotSubscribed {
        /// The function.
        function: FunctionId,
        /// The event type.
        event: EventType,
    },
    /// The function to be subscribed does not exist in this site.
    #[error("Function with id {0} does not exist")]
    FunctionDoesNotExist(FunctionId),
    /// The code was refused.
    #[error("{0}")]
    Code(#[from] CodeError),
    /// No credential, or one that proves nothing.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The credential is good and the right is missing.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing in this site.
    #[error("{0} not found")]
    NotFound(String),
    /// Something else already stands there.
    #[error("{0}")]
    Conflict(#[from] Conflict),
    /// A PRE function refused, or broke.
    #[error("{0}")]
    PreStage(Box<Refusal>),
    /// A function that was executed and waited for gave no result.
    #[error("{}", failure_message(.0))]
    FunctionFailed(Box<Invocation>),
    /// A chain of events and calls grew too deep.
    #[error("{0}")]
    Chain(String),
    /// The site has as many queued runs waiting as it may.
    #[error(
        "This site has {most} queued runs waiting, which is the limit of {part}; wait until some have \
         run, or switch off what queues them"
    )]
    QueueFull {
        /// The bound.
        most: u64,
        /// Of what: calls may fill less than there is for events.
        part: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many calls of one function.
    #[error("{reason}; try again in {} seconds", retry_after.as_secs().max(1))]
    Busy {
        /// What is too much.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many attempts.
    #[error("Too many attempts; try again in {}", crate::text::seconds(*.0))]
    RateLimited(Duration),
    /// This server cannot do it now.
    #[error("{0}")]
    Unavailable(String),
    /// A piece of work within this server broke off; the next one may not.
    #[error("{what}; try again")]
    BrokenOff {
        /// What is not there for it.
        what: &'static str,
        /// How it ended.
        #[source]
        cause: tokio::task::JoinError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// A bug.
    #[error("{0}")]
    Internal(String),
    /// A bug, and what it came from.
    #[error("{what}")]
    Failed {
        /// What did not work.
        what: String,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// A bug, and what it came from.
    pub(crate) fn failed(
        what: impl Into<String>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            what: what.into(),
            cause: cause.into(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(conflict) => Self::Conflict(conflict),
            other => Self::Store(other),
        }
    }
}

/// Subscribing again would not switch it on: whoever switched it off had a reason.
fn switched_off(inactive: Option<&Inactive>, function: FunctionId, event: EventType) -> String {
    let Some(inactive) = inactive else {
        return String::new();
    };
    let off = if inactive.is_closed(event) {
        "closed"
    } else {
        "switched off"
    };
    format!(
        ", but the subscription is {off}. {}. To switch it on again, send PATCH with \
         {{\"function_id\": {function}, \"is_active\": true}} to the same path",
        inactive.reason(event)
    )
}

fn first_message(errors: &[FieldError]) -> String {
    errors.first().map_or_else(
        || "The request is not valid".to_owned(),
        |error| match &*error.field {
            "" => error.message.clone(),
            field => format!("{field}: {}", error.message),
        },
    )
}

fn failure_message(invocation: &Invocation) -> String {
    invocation.failure.as_ref().map_or_else(
        || format!("Function '{}' failed", invocation.function_name),
        |failure| failure.message.clone(),
    )
}
