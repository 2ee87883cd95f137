//! Measurements for Prometheus.
//!
//! Labels are taken from closed sets only (routes, methods, statuses, states): never a path, a
//! user or a site, whose number nobody bounds.

use axum::http::{Method, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;
use tollgate_core::tasks::State;

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    300.0,
];

/// The process's recorder, installed at the first call.
///
/// When the embedding program has installed its own, ours stays unconnected and its text empty.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        // Fails for an empty list only.
        let builder = builder.set_buckets(LATENCY_BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::info!("another metrics recorder is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    metrics::describe_counter!("tollgate_http_requests_total", "HTTP requests answered");
    metrics::describe_histogram!(
        "tollgate_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from the end of a request's head to its answer"
    );
    metrics::describe_gauge!("tollgate_http_connections", "Open connections");
    metrics::describe_counter!(
        "tollgate_invocation_changes_total",
        "Invocations that came into a state, in this process"
    );
}

/// A request was answered.
pub(crate) fn request(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let method = known(method);
    let route = route.to_owned();
    metrics::counter!(
        "tollgate_http_requests_total",
        "method" => method, "route" => route.clone(), "status" => status_word(status)
    )
    .increment(1);
    metrics::histogram!(
        "tollgate_http_request_duration_seconds", "method" => method, "route" => route
    )
    .record(took.as_secs_f64());
}

/// An invocation came into a state.
pub(crate) fn invocation(state: State) {
    metrics::counter!("tollgate_invocation_changes_total", "state" => state.as_str()).increment(1);
}

/// A connection was opened or closed.
pub(crate) fn connections(change: f64) {
    metrics::gauge!("tollgate_http_connections").increment(change);
}

/// Anybody can invent a method.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn status_word(status: StatusCode) -> String {
    status.as_str().to_owned()
}
