//! Why a request of a running function was refused.
//!
//! Must never know a status: that is the word of whoever writes to a client.

use crate::text::text_enum;
use std::fmt;

/// What is wrong with a request of a running function. Which status a client knows it by is the word of whoever
/// speaks to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostErrorKind {
    /// The request makes no sense.
    BadRequest,
    /// Values that cannot be stored.
    Invalid,
    /// Nobody answers for it.
    Unauthenticated,
    /// The function may not ask for this.
    Forbidden,
    /// No such thing.
    NotFound,
    /// Something else already stands there.
    Conflict,
    /// The request, or its answer, is too large.
    TooLarge,
    /// Too many requests.
    TooMany,
    /// A fault of the server's.
    Internal,
    /// Not now.
    Unavailable,
    /// Somebody else did not answer in time.
    Late,
    /// A PRE function said no.
    PreEventDenied,
    /// A PRE function broke.
    PreEventFailed,
    /// A function that was executed and waited for broke.
    FunctionFailed,
}

// The error codes of the HTTP API.
text_enum!(HostErrorKind {
    BadRequest => "BAD_REQUEST",
    Invalid => "VALIDATION_ERROR",
    Unauthenticated => "UNAUTHORIZED",
    Forbidden => "FORBIDDEN",
    NotFound => "NOT_FOUND",
    Conflict => "CONFLICT",
    TooLarge => "PAYLOAD_TOO_LARGE",
    TooMany => "RATE_LIMITED",
    Internal => "INTERNAL_ERROR",
    Unavailable => "SERVICE_UNAVAILABLE",
    Late => "GATEWAY_TIMEOUT",
    PreEventDenied => "PRE_EVENT_DENIED",
    PreEventFailed => "PRE_EVENT_FAILED",
    FunctionFailed => "FUNCTION_FAILED",
});

/// Why a request of a running function was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct HostError {
    /// What is wrong.
    pub kind: HostErrorKind,
    /// What to do about it.
    pub message: String,
}

impl HostError {
    /// A refusal.
    pub fn new(kind: HostErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(HostErrorKind::BadRequest, message)
    }

    /// The function may not ask for this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(HostErrorKind::Forbidden, message)
    }

    /// `sdk_client` has no such method.
    pub fn no_such_method(method: &str) -> Self {
        let message = format!("sdk_client.{method} does not exist in this version of Tollgate");
        Self::new(HostErrorKind::NotFound, message)
    }

    /// A fault of the server's.
    pub fn internal(cause: &impl ToString) -> Self {
        Self::new(HostErrorKind::Internal, cause.to_string())
    }
}
