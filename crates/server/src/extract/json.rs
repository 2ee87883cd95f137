//! JSON bodies: bounded in size, time and depth, checked, then read into a type.

use crate::error::{ApiError, Code};
use crate::reading;
use crate::state::AppState;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tollgate_core::draft::Draft;
use tollgate_core::limits;
use tollgate_core::strict_json;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A JSON body. An empty one counts as `{}`.
pub(crate) struct Json<T>(pub(crate) Draft<T>);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let (body, _) = body(request, app).await?;
        read(checked(&body.bytes)?).map(Self)
    }
}

/// For a field of a change that may be absent (it stays), `null` (it is unset) or a value. Use it
/// with `default`.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// For a field of a change that may be absent (it stays) or a value, and cannot be unset. Use it with
/// `default`.
pub(crate) fn set<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// How a body means what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Each value replaces what was there.
    Values,
    /// RFC 7396: objects are merged, and `null` removes.
    MergePatch,
}

/// A body, and its part of what bodies may take up together, to be kept until it has been read.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// The body of a request that says that it is JSON.
pub(super) async fn body(request: Request, app: &AppState) -> Result<(Body, Meaning), ApiError> {
    let meaning = check_head(request.method(), request.headers())?;
    Ok((raw_body(request, app).await?, meaning))
}

/// The body of a request, whatever it is.
pub(crate) async fn raw_body(request: Request, app: &AppState) -> Result<Body, ApiError> {
    check_length(request.headers())?;
    // What is announced, else what is allowed.
    let length = request.body().size_hint().upper();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let arriving = async {
        let room = room(app, length.unwrap_or(limits::REQUEST_BODY_BYTES)).await?;
        let bytes = collect(request.into_body()).await?;
        Ok(Body { bytes, _room: room })
    };
    let arrived = tokio::time::timeout(app.config().body_timeout, arriving).await;
    arrived.map_err(|_| too_slow())?
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

/// The length that is announced, if it may be as long.
fn check_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::REQUEST_BODY_BYTES) {
        return Err(ApiError::too_large(limits::REQUEST_BODY_BYTES));
    }
    Ok(length)
}

fn check_head(method: &Method, headers: &HeaderMap) -> Result<Meaning, ApiError> {
    let length = check_length(headers)?;
    // No content type at all is taken for JSON: nothing else is understood anyway.
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(Meaning::Values);
    };
    let mut parts = given.to_str().unwrap_or_default().split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_utf_8 = |part: &str| {
        let charset = part
            .split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        charset.is_none_or(|(_, it)| it.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
    };
    let understood = parts.all(is_utf_8);
    if understood && media_type.eq_ignore_ascii_case(JSON) {
        return Ok(Meaning::Values);
    }
    if *method == Method::PATCH && understood && media_type.eq_ignore_ascii_case(MERGE_PATCH) {
        return Ok(Meaning::MergePatch);
    }
    if length == Some(0) {
        return Ok(Meaning::Values);
    }
    Err(not_understood(method))
}

fn not_understood(method: &Method) -> ApiError {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if *method == Method::PATCH {
        let message =
            format!("Send JSON, with the header 'Content-Type: {JSON}' or '{MERGE_PATCH}'");
        let accepted = "application/json, application/merge-patch+json";
        return ApiError::new(status, Code::BadRequest, message)
            .header(ACCEPT_PATCH, HeaderValue::from_static(accepted));
    }
    let message = format!("Send JSON in UTF-8, with the header 'Content-Type: {JSON}'");
    ApiError::new(status, Code::BadRequest, message).header(ACCEPT, HeaderValue::from_static(JSON))
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

pub(super) fn too_slow() -> ApiError {
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
    if !text.trim_ascii_start().starts_with('{') {
        let message = "The request body is not an object; send {\"name\": value, …}";
        let (status, code) = (StatusCode::BAD_REQUEST, Code::ValidationError);
        return Err(ApiError::new(status, code, message));
    }
    Ok(text.trim_ascii())
}

/// Reads a checked text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<Draft<T>, ApiError> {
    let read = reading::object(text, &[]);
    read.map(|(draft, _)| draft).map_err(ApiError::faults)
}
