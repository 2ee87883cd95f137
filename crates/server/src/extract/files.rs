//! Requests that carry the files of a version beside their JSON: as a form with several parts, or as an archive alone.
//!
//! What arrives is bounded in bytes and time, has its turn until it is stored, and is unpacked away from the threads that serve
//! others. The JSON is then
//! read as any other, with the files' name among its values.

mod archive;
mod form;

pub(crate) use form::FunctionForm;

use super::json::too_slow;
use crate::error::{ApiError, Code};
use crate::state::AppState;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tollgate_core::functions::{Bundle, PackedBundle};
use tollgate_core::limits;

/// What a request says, and the files that came with it.
pub(crate) struct WithFiles<E>(pub(crate) Option<Files>, pub(crate) E);

/// Files that came with a request, and their turn, to be kept until they are stored.
pub(crate) struct Files {
    pub(crate) packed: PackedBundle,
    _turn: OwnedSemaphorePermit,
}

/// How files come.
enum Kind {
    /// `multipart/form-data`, with its boundary.
    Form(String),
    /// An archive and nothing else.
    Archive,
}

/// What arrived: the JSON, and the files.
struct Arrived {
    json: String,
    files: Option<Bundle>,
}

impl<E> FromRequest<AppState> for WithFiles<E>
where
    E: FromRequest<AppState, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let Some(kind) = kind(request.headers())? else {
            return Ok(Self(None, E::from_request(request, app).await?));
        };
        let (mut head, body) = request.into_parts();
        let length = body.size_hint().upper();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.unwrap_or(limits::UPLOAD_BYTES);
        if length > limits::UPLOAD_BYTES {
            return Err(ApiError::too_large(limits::UPLOAD_BYTES));
        }
        let turn = turn(app).await?;
        let arriving = async {
            match kind {
                Kind::Form(boundary) => form::read(body, boundary).await,
                Kind::Archive => archive::read(body).await,
            }
        };
        let arrived = tokio::time::timeout(limits::UPLOAD_TIME, arriving).await;
        let Arrived { json, files } = arrived.map_err(|_| too_slow())??;
        let packed = match files {
            Some(files) => Some(apart(move || Ok(files.pack())).await?),
            None => None,
        };
        let json = match &packed {
            Some(packed) => with_bundle(&json, packed)?,
            None => json,
        };
        head.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
        let request = Request::from_parts(head, Body::from(json));
        let read = E::from_request(request, app).await?;
        let files = packed.map(|packed| Files {
            packed,
            _turn: turn,
        });
        Ok(Self(files, read))
    }
}

/// Waits until files may arrive: unpacked, a small body may be as large as any.
async fn turn(app: &AppState) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = Arc::clone(app.uploads()).acquire_owned();
    match tokio::time::timeout(limits::UPLOAD_TIME, turn).await {
        Ok(turn) => turn.map_err(|error| ApiError::internal(error.to_string())),
        Err(_) => {
            let message = "Others are sending files; try again later";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(ApiError::new(status, Code::ServiceUnavailable, message))
        }
    }
}

fn kind(headers: &HeaderMap) -> Result<Option<Kind>, ApiError> {
    let given = headers.get(CONTENT_TYPE);
    let given = given.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    let is = |one: &str| media_type.eq_ignore_ascii_case(one);
    if is("application/gzip") || is("application/x-gzip") || is("application/x-tar") {
        return Ok(Some(Kind::Archive));
    }
    if !is("multipart/form-data") {
        return Ok(None);
    }
    let boundary = multer::parse_boundary(given)
        .map_err(|_| ApiError::bad_request("Content-Type: the form has no boundary"))?;
    Ok(Some(Kind::Form(boundary)))
}

/// The JSON with the name of the files that came beside it.
fn with_bundle(json: &str, packed: &PackedBundle) -> Result<String, ApiError> {
    let inner = json.trim_ascii().strip_prefix('{');
    let Some(inner) = inner else {
        let message = "The part 'function' is not an object; send {\"name\": value, …}";
        let (status, code) = (StatusCode::BAD_REQUEST, Code::ValidationError);
        return Err(ApiError::new(status, code, message));
    };
    let comma = if inner.trim_ascii_start().starts_with('}') {
        ""
    } else {
        ","
    };
    Ok(format!("{{\"bundle\":\"{}\"{comma}{inner}", packed.digest))
}

/// Does what takes a while on a thread that serves nobody else.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::internal(error.to_string()))?
}
