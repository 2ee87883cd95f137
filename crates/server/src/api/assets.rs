//! Files and measurements: the OpenAPI document, a page that shows it, `/metrics`.

use crate::metrics;
use crate::openapi::openapi;
use crate::state::AppState;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, VARY,
};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::LazyLock;

/// Nothing from elsewhere, and no script but the page's own file.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string(&openapi()).unwrap_or_default());

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/", get(root))
        .route("/api/openapi.json", get(document))
        .route("/docs", get(page))
        .route("/docs/page.js", get(script))
        .route("/docs/page.css", get(style))
        .route("/metrics", get(measurements))
}

/// Where everything is: a browser is led to the page that shows it, everybody else is told.
async fn root(headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    let is_browser = accept.is_some_and(|it| it.contains("text/html"));
    let mut response = if is_browser {
        Redirect::to("/docs").into_response()
    } else {
        axum::Json(json!({
            "name": "Tollgate",
            "docs": "/docs",
            "openapi": "/api/openapi.json",
            "health": "/healthz",
        }))
        .into_response()
    };
    let by_accept = HeaderValue::from_static("accept");
    response.headers_mut().append(VARY, by_accept);
    response
}

async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("../../assets/docs.html"))
}

async fn script() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/javascript"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("../../assets/docs.js"))
}

async fn style() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/css"), (CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../../assets/docs.css"))
}

async fn measurements() -> impl IntoResponse {
    let version = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, version)], metrics::recorder().render())
}
