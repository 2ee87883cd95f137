//! What happens around every request: its id, its log line, its measurements; then what is refused
//! before any route is looked for, and the last defence against panics.
//!
//! Must never log a header's value, a query string or a body: credentials travel in all three.

use crate::error::{ApiError, Cause, Code};
use crate::extract::RequestId;
use crate::head;
use crate::metrics;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES: usize = 128;

/// The name of a route that does not exist.
const NO_ROUTE: &str = "none";

/// Marks an answer that a function gave, whose status says nothing about the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfFunction;

/// The outermost layer of the router.
pub(crate) async fn edge(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = app.clock().monotonic();
    let id = request_id(&request, &app);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let is_own = response.extensions().get::<OfFunction>().is_none();
    if is_own && response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        name_the_request(&mut response, &id);
    }
    let took = app.clock().monotonic().saturating_duration_since(began);
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    metrics::request(&method, route, response.status(), took);
    log(&method, uri.path(), &id, &response, took);
    response.headers_mut().insert(REQUEST_ID, id);
    harden(uri.path(), response.headers_mut());
    response
}

/// What the API answers is somebody's own, often a token or key: it is kept by no cache, unless its
/// route says otherwise, and taken for nothing but what it says it is.
fn harden(path: &str, headers: &mut HeaderMap) {
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    let is_api = path.starts_with("/api/") || path.starts_with("/_allauth/");
    if is_api && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The layer within: whatever becomes of the request, there is an answer, and what is put around
/// answers is put around this one too.
pub(crate) async fn guard(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if let Err(error) = head::check(&request) {
        return error.into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    tokio::select! {
        answer = answer => answer.unwrap_or_else(|panic| {
            ApiError::internal(format!("panic: {}", words_of(&*panic))).into_response()
        }),
        () = app.given_up() => stopping().into_response(),
    }
}

/// To whoever still waits when the time to stop is over.
fn stopping() -> ApiError {
    let message = "The server is stopping and did not wait for the end of this request; what it \
                   asked for may or may not have been done";
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::ServiceUnavailable,
        message,
    )
    .retry_after(1)
}

/// The id that came with the request, if it can be passed on, else a new one.
fn request_id(request: &Request, app: &AppState) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES && id.as_bytes().iter().all(allowed)
    });
    given.cloned().unwrap_or_else(|| app.next_request_id())
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// A 500 tells its reader nothing but where to look.
fn name_the_request(response: &mut Response, id: &HeaderValue) {
    let id = id.to_str().unwrap_or_default();
    let body = serde_json::json!({
        "success": false,
        "status": "error",
        "code": Code::InternalError,
        "message": format!("Internal error. The server's log has more under the request id {id}"),
        "request_id": id,
    });
    *response.body_mut() = Body::from(body.to_string());
    response.headers_mut().remove(CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(axum::http::header::CONTENT_TYPE, json);
}

fn log(method: &Method, path: &str, id: &HeaderValue, response: &Response, took: Duration) {
    let id = id.to_str().unwrap_or_default();
    let status = response.status().as_u16();
    let took_ms = took.as_secs_f64() * 1e3;
    match response.extensions().get::<Cause>() {
        Some(Cause(cause)) => tracing::error!(
            http.method = %method, http.path = path, http.status = status,
            request.id = id, request.took_ms = took_ms, error = cause,
            "{method} {path} failed with {status}: {cause}"
        ),
        None => tracing::debug!(
            http.method = %method, http.path = path, http.status = status,
            request.id = id, request.took_ms = took_ms,
            "{method} {path} answered {status}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_500_names_the_request_and_not_its_cause() {
        let mut response = ApiError::internal("no such table: users").into_response();
        assert!(response.extensions().get::<Cause>().is_some());
        name_the_request(&mut response, &HeaderValue::from_static("r-1"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "INTERNAL_ERROR");
        assert_eq!(body["request_id"], "r-1");
        assert!(body["message"].as_str().unwrap().ends_with("r-1"));
        assert!(!body.to_string().contains("table"));
    }
}
