//! JSON bodies: bounded in size, time and depth, checked, then read into a type.

use crate::error::{ApiError, Code};
use crate::state::AppState;
use crate::strict_json;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tollgate_core::limits;

/// A JSON body. An empty one counts as `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let Body { bytes, .. } = &body(request, app).await?;
        read(checked(bytes)?).map(Self)
    }
}

/// For a field that may be absent (it stays), `null` (it is unset) or a value. Use it with
/// `default`.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A body, and its part of what bodies may take up together, to be kept until it has been read.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// The body of a request that says that it is JSON.
pub(super) async fn body(request: Request, app: &AppState) -> Result<Body, ApiError> {
    check_head(request.headers())?;
    // What is announced, else what is allowed.
    let length = request.body().size_hint().upper();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let arriving = async {
        let room = room(app, length.unwrap_or(limits::REQUEST_BODY_BYTES)).await?;
        let bytes = collect(request.into_body()).await?;
        Ok(Body { bytes, _room: room })
    };
    tokio::time::timeout(app.config().body_timeout, arriving)
        .await
        .map_err(|_| too_slow())?
}

/// Waits until a body of this size may arrive; a small one needs not.
async fn room(app: &AppState, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if bytes <= limits::SMALL_BODY_BYTES {
        return Ok(None);
    }
    let pieces = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let room = Arc::clone(app.bodies()).acquire_many_owned(pieces).await;
    room.map(Some)
        .map_err(|error| ApiError::internal(error.to_string()))
}

fn check_head(headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::REQUEST_BODY_BYTES) {
        return Err(ApiError::too_large(limits::REQUEST_BODY_BYTES));
    }
    // No content type at all is taken for JSON: nothing else is understood anyway.
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let media_type = given
        .to_str()
        .ok()
        .and_then(|given| given.split(';').next())
        .map(str::trim);
    let is_json = |media_type: &str| {
        media_type.eq_ignore_ascii_case("application/json")
            || media_type.to_ascii_lowercase().ends_with("+json")
    };
    if length == Some(0) || media_type.is_some_and(is_json) {
        return Ok(());
    }
    let message = "Send JSON, with the header 'Content-Type: application/json'";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::BadRequest,
        message,
    ))
}

async fn collect(body: axum::body::Body) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, limits::REQUEST_BODY_BYTES);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::too_large(limits::REQUEST_BODY_BYTES))
        }
        Err(_) => Err(ApiError::bad_request(
            "The request body ended before it was complete",
        )),
    }
}

fn too_slow() -> ApiError {
    let message = "The request body did not arrive in time";
    ApiError::new(StatusCode::REQUEST_TIMEOUT, Code::BadRequest, message)
}

/// The text of a body that is an object and passes [`strict_json::check`].
pub(super) fn checked(bytes: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        ApiError::bad_request(format!("The request body is not UTF-8 at byte {place}"))
    })?;
    // Some programs begin every UTF-8 text with it (RFC 8259, section 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = if text.trim_ascii().is_empty() {
        "{}"
    } else {
        text
    };
    strict_json::check(text)
        .map_err(|error| ApiError::bad_request(format!("The request body is not JSON: {error}")))?;
    // serde would take the elements of an array for a type's fields, in their order.
    if !text.trim_ascii_start().starts_with('{') {
        let message = "The request body is not an object; send {\"name\": value, …}";
        let (status, code) = (StatusCode::BAD_REQUEST, Code::ValidationError);
        return Err(ApiError::new(status, code, message));
    }
    Ok(text)
}

/// Reads a checked text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            Code::ValidationError,
            error.to_string(),
        )
    })
}
