//! Errors on the wire: one shape for all, and one table from the domain's errors to statuses.
//!
//! Must never show SQL, a stack or a cause to a client: those go to the log, under the request id
//! that the client is given.

use crate::views::{InvocationOnly, InvocationView};
use crate::words;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::error::Error as StdError;
use tollgate_core::error::Error;
use tollgate_core::ids::TaskId;
use tollgate_core::ports::runtime::HostErrorKind;
use tollgate_core::ports::store::{Conflict, StoreError};
use tollgate_core::validation::FieldError;
use utoipa::ToSchema;

/// The word that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Code {
    /// The request makes no sense as it is.
    BadRequest,
    /// Values that cannot be stored; `errors` has them by field.
    ValidationError,
    /// No credential, or one that proves nothing.
    Unauthorized,
    /// The right is missing.
    Forbidden,
    /// No such thing in this site.
    NotFound,
    /// Something else already stands there.
    Conflict,
    /// The body is too large.
    PayloadTooLarge,
    /// Too many attempts.
    RateLimited,
    /// A bug; the log has more under the request id.
    InternalError,
    /// Not now.
    ServiceUnavailable,
    /// Somebody else did not answer in time.
    GatewayTimeout,
    /// A PRE function said no.
    PreEventDenied,
    /// A PRE function broke.
    PreEventFailed,
    /// A function that was executed and waited for broke.
    FunctionFailed,
}

impl Code {
    const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::ValidationError,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::RateLimited,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
        Self::PreEventDenied,
        Self::PreEventFailed,
        Self::FunctionFailed,
    ];

    /// The code of a word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let same = |code: &Self| code.of_host().as_str() == word;
        Self::ALL.into_iter().find(same)
    }

    /// What a function is told whose request ends so.
    pub(crate) const fn of_host(self) -> HostErrorKind {
        match self {
            Self::BadRequest => HostErrorKind::BadRequest,
            Self::ValidationError => HostErrorKind::Invalid,
            Self::Unauthorized => HostErrorKind::Unauthenticated,
            Self::Forbidden => HostErrorKind::Forbidden,
            Self::NotFound => HostErrorKind::NotFound,
            Self::Conflict => HostErrorKind::Conflict,
            Self::PayloadTooLarge => HostErrorKind::TooLarge,
            Self::RateLimited => HostErrorKind::TooMany,
            Self::InternalError => HostErrorKind::Internal,
            Self::ServiceUnavailable => HostErrorKind::Unavailable,
            Self::GatewayTimeout => HostErrorKind::Late,
            Self::PreEventDenied => HostErrorKind::PreEventDenied,
            Self::PreEventFailed => HostErrorKind::PreEventFailed,
            Self::FunctionFailed => HostErrorKind::FunctionFailed,
        }
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    success: bool,
    /// Always `error`.
    #[schema(schema_with = words::error)]
    status: &'static str,
    code: Code,
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    /// More for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What an end user is to read of a refusal, in the language that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_message: Option<String>,
    /// One entry for each field or function that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    errors: Option<Value>,
    /// What there is besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<InvocationOnly>,
    /// The run of a public function that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    task_id: Option<TaskId>,
}

/// The ways in which a credential may be sent (RFC 9110, section 11.6.1).
const CHALLENGES: [&str; 2] = ["Bearer realm=\"Tollgate\"", "Api-Key realm=\"Tollgate\""];

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    body: ErrorBody,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// Why an answer is a 5xx, for the log. Travels beside the response, never in it.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) String);

impl ApiError {
    /// An error with a message and nothing else.
    pub(crate) fn new(
        status: StatusCode,
        code: Code,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let body = ErrorBody {
            success: false,
            status: "error",
            code,
            message: message.into(),
            detail: None,
            user_message: None,
            errors: None,
            data: None,
            task_id: None,
        };
        Self(Box::new(Parts {
            status,
            body,
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// 400 `BAD_REQUEST`.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, message)
    }

    /// 400 `VALIDATION_ERROR` about one field.
    pub(crate) fn invalid(field: &str, message: &str) -> Self {
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            Code::ValidationError,
            format!("{field}: {message}"),
        );
        error.0.body.errors = Some(json!([{"field": field, "message": message}]));
        error
    }

    /// 400 `VALIDATION_ERROR` about every field that is to blame.
    pub(crate) fn faults(faults: Vec<FieldError>) -> Self {
        let errors = json!(faults);
        let mut error = Self::from(Error::Validation(faults));
        error.0.body.errors = Some(errors);
        error
    }

    /// 412 `CONFLICT`.
    pub(crate) fn precondition_failed() -> Self {
        let message = "If-Match does not hold: what stands there is not what you saw; read it again \
                       and repeat the change";
        Self::new(StatusCode::PRECONDITION_FAILED, Code::Conflict, message)
    }

    /// 404 `NOT_FOUND`.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            format!("{what} not found"),
        )
    }

    /// 409 `CONFLICT`.
    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, Code::Conflict, message)
    }

    /// Status, code and message, for a function.
    pub(crate) fn told(self) -> (StatusCode, Code, Cow<'static, str>) {
        let Parts { status, body, .. } = *self.0;
        (status, body.code, body.message)
    }

    /// Status and body, for an answer that is kept.
    pub(crate) fn into_parts(self) -> (StatusCode, ErrorBody) {
        (self.0.status, self.0.body)
    }

    /// 413 `PAYLOAD_TOO_LARGE`.
    pub(crate) fn too_large(most_bytes: usize) -> Self {
        let message = format!("The request body is larger than {} KiB", most_bytes / 1024);
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::PayloadTooLarge,
            message,
        )
    }

    /// 500 `INTERNAL_ERROR`; `cause` goes to the log.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::InternalError,
            "Internal error",
        )
        .caused_by(cause)
    }

    /// Adds a header to the answer.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Names the run that is meant.
    #[must_use]
    pub(crate) fn task(mut self, id: TaskId) -> Self {
        self.0.body.task_id = Some(id);
        self
    }

    fn errors(mut self, errors: Value) -> Self {
        self.0.body.errors = Some(errors);
        self
    }

    fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Parts {
            status,
            body,
            headers,
            cause,
        } = *self.0;
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            for scheme in CHALLENGES {
                let scheme = HeaderValue::from_static(scheme);
                response.headers_mut().append(WWW_AUTHENTICATE, scheme);
            }
        }
        for (name, value) in headers {
            response.headers_mut().append(name, value);
        }
        if let Some(cause) = cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        use StatusCode as S;
        let message = error.to_string();
        let cause = error.source().map(|_| with_sources(&error));
        match error {
            Error::BadRequest(_)
            | Error::InvalidEventType(_)
            | Error::AlreadySubscribed { .. }
            | Error::FunctionDoesNotExist(_)
            | Error::Chain(_) => Self::bad_request(message),
            Error::Validation(errors) => {
                Self::new(S::BAD_REQUEST, Code::ValidationError, message).errors(json!(errors))
            }
            Error::Code(code) => {
                let mut fault = json!({"field": "code", "message": code.message, "line": code.line,
                    "column": code.column});
                if let Some(traceback) = code.traceback {
                    fault["traceback"] = json!(traceback);
                }
                Self::new(S::BAD_REQUEST, Code::ValidationError, message).errors(json!([fault]))
            }
            Error::NotSubscribed { .. } | Error::NotFound(_) => {
                Self::new(S::NOT_FOUND, Code::NotFound, message)
            }
            Error::Unauthenticated(_) => Self::new(S::UNAUTHORIZED, Code::Unauthorized, message),
            Error::Forbidden(_) => Self::new(S::FORBIDDEN, Code::Forbidden, message),
            Error::Conflict(conflict) => of_conflict(conflict),
            Error::PreStage(refusal) => {
                let code = if refusal.broken {
                    Code::PreEventFailed
                } else {
                    Code::PreEventDenied
                };
                let mut error = Self::new(S::BAD_REQUEST, code, message).errors(json!(refusal.by));
                error.0.body.user_message = refusal.by.into_iter().find_map(|it| it.user_message);
                error
            }
            Error::FunctionFailed(invocation) => {
                let mut error = Self::new(S::BAD_REQUEST, Code::FunctionFailed, message);
                let invocation = InvocationView::full(*invocation);
                error.0.body.data = Some(InvocationOnly {
                    invocation: Box::new(invocation),
                });
                error
            }
            Error::QueueFull {
                retry_after: wait, ..
            }
            | Error::Busy {
                retry_after: wait, ..
            }
            | Error::RateLimited(wait) => {
                let seconds = tollgate_core::text::whole_seconds(wait);
                Self::new(S::TOO_MANY_REQUESTS, Code::RateLimited, message).retry_after(seconds)
            }
            Error::Unavailable(_) => {
                Self::new(S::SERVICE_UNAVAILABLE, Code::ServiceUnavailable, message).retry_after(1)
            }
            Error::BrokenOff { .. } => {
                Self::new(S::SERVICE_UNAVAILABLE, Code::ServiceUnavailable, message)
                    .retry_after(1)
                    .caused_by(cause.unwrap_or_default())
            }
            Error::Store(error) => of_store(error),
            Error::Internal(cause) => Self::internal(cause),
            Error::Failed { .. } => Self::internal(cause.unwrap_or_default()),
        }
    }
}

fn of_conflict(conflict: Conflict) -> ApiError {
    let by_field = |field| {
        let message = conflict.to_string();
        ApiError::conflict(message.clone()).errors(json!([{"field": field, "message": message}]))
    };
    match conflict {
        Conflict::Username => by_field("username"),
        Conflict::Email => by_field("email"),
        Conflict::Slug => by_field("slug"),
        Conflict::Secret => by_field("key"),
        Conflict::EventType | Conflict::EventTypes | Conflict::EventNames => by_field("name"),
        Conflict::Subscription
        | Conflict::Subscribed(_)
        | Conflict::NoEventType
        | Conflict::Site
        | Conflict::IdempotencyKey
        | Conflict::Changed
        | Conflict::Author
        | Conflict::NotDead
        | Conflict::Gone => ApiError::conflict(conflict.to_string()),
    }
}

fn of_store(error: StoreError) -> ApiError {
    let cause = with_sources(&error);
    match error {
        StoreError::Conflict(conflict) => of_conflict(conflict),
        StoreError::Unavailable(_) => {
            let message = "The database is not available; try again in a moment";
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::ServiceUnavailable,
                message,
            )
            .retry_after(1)
            .caused_by(cause)
        }
        StoreError::Refused | StoreError::Corrupt { .. } | StoreError::Failed(_) => {
            ApiError::internal(cause)
        }
    }
}

/// An error with everything behind it, for the log.
fn with_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        text.push_str(": ");
        text.push_str(&behind.to_string());
        source = behind.source();
    }
    text
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        if rejection.status().is_server_error() {
            return Self::internal(rejection.body_text());
        }
        // A path whose parts do not even parse leads nowhere.
        Self::not_found("Path")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients tell errors apart by these words, whichever way they ask.
    #[test]
    fn functions_are_told_the_same_words() {
        assert_eq!(Code::ALL.map(Code::of_host), HostErrorKind::ALL);
        for code in Code::ALL {
            assert_eq!(json!(code), json!(code.of_host().as_str()));
        }
    }
}
