//! Raw requests of public functions: the request itself goes in, and an HTTP answer may come out.
//!
//! Must never let an answer act on what else is at the server's address: it is shown as of nowhere.

use super::public::{PublicReply, told};
use crate::edge::OfFunction;
use crate::error::{ApiError, Code};
use crate::extract::{pairs, raw_body};
use crate::paths::Asked;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tollgate_core::functions::{RawAnswer, RawRequest};
use tollgate_core::ids::SiteId;
use tollgate_core::invocations::{Call, Executed};
use tollgate_core::limits;
use tollgate_core::request::RequestInfo;

/// What a page of an answer may do: nothing in the name of this address, where others have theirs.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// The request of a method that only raw functions have, at a function that is none.
pub(super) fn no_such_method() -> ApiError {
    let message = "Only a public function with request \"raw\" has methods other than POST";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, message)
        .header(ALLOW, HeaderValue::from_static("POST"))
}

/// Runs the function with the request, and answers what it says.
pub(super) async fn execute(
    app: &AppState,
    site: SiteId,
    function: (&str, &str),
    about: Arc<RequestInfo>,
    request: Request,
) -> Result<Response, ApiError> {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let uri = match request.extensions().get() {
        Some(Asked(uri)) => uri.clone(),
        None => request.uri().clone(),
    };
    let body = raw_body(request, app).await?;
    let told_headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let params = params(method.as_str(), &uri, &told_headers, &body.bytes)?;
    drop(body);
    let call = Call {
        params,
        queued: None,
        remember: None,
        may_answer: true,
    };
    let invocations = &app.services().invocations;
    let executed = invocations.execute_public(site, function, call, Some(about));
    let executed = executed.await.map_err(told)?;
    if let Some(answer) = answer_of(&executed)? {
        return Ok(answer);
    }
    Ok(PublicReply::of(&executed).into_response())
}

fn params(
    method: &str,
    uri: &Uri,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<tollgate_core::json::JsonText, ApiError> {
    let request = RawRequest {
        method,
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        pairs: &pairs(uri),
        headers,
        body,
    };
    let params = request.params();
    params.ok_or_else(|| ApiError::too_large(limits::RAW_PARAMS_BYTES))
}

/// The HTTP answer that a run gave; none for any other result.
fn answer_of(executed: &Executed) -> Result<Option<Response>, ApiError> {
    let result = executed.invocation.result.as_ref();
    let Some(result) = result.filter(|_| !executed.queued) else {
        return Ok(None);
    };
    // One that cannot be sent has failed already.
    let found =
        RawAnswer::of(result).map_err(|failure| ApiError::internal(failure.message.to_string()))?;
    found.map(response).transpose()
}

fn response(answer: RawAnswer) -> Result<Response, ApiError> {
    let broken =
        |error: &dyn std::fmt::Display| ApiError::internal(format!("a checked answer: {error}"));
    let mut response = Response::new(Body::from(answer.body));
    let status = StatusCode::from_u16(answer.status);
    *response.status_mut() = status.map_err(|error| broken(&error))?;
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(|error| broken(&error))?;
        let value = HeaderValue::try_from(value).map_err(|error| broken(&error))?;
        response.headers_mut().append(name, value);
    }
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, SANDBOX);
    response.extensions_mut().insert(OfFunction);
    Ok(response)
}
