//! The proxy runtime against a server on this machine.

use crate::support::{call, failure, proxy_function, value};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::error::Error;
use tollgate_core::function::Executable;
use tollgate_core::invocation::FailureKind;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, RunReport, Runtime as _};
use tollgate_core::time::{Clock as _, SystemClock};
use tollgate_core::webhook::{Circuit, FindSecrets, SigningSecret, signature};
use tollgate_runtimes::{Outbound, OutboundConfig, ProxyRuntime};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A function's two secrets.
struct Secrets;

#[async_trait]
impl FindSecrets for Secrets {
    async fn of(&self, _: &Executable) -> Result<Vec<SigningSecret>, Error> {
        Ok([[1; 32], [2; 32]]
            .map(|bytes| SigningSecret::from_bytes(&bytes))
            .into())
    }
}

fn runtime(allow_private: bool) -> ProxyRuntime {
    let config = OutboundConfig {
        allow_private,
        ..OutboundConfig::default()
    };
    let outbound = Outbound::new(config).unwrap();
    ProxyRuntime::new(outbound, Arc::new(Secrets), Arc::new(SystemClock))
}

async fn run(executable: &Arc<Executable>, limit: Duration) -> RunReport {
    run_by(&runtime(true), executable, limit).await
}

async fn run_by(
    runtime: &ProxyRuntime,
    executable: &Arc<Executable>,
    limit: Duration,
) -> RunReport {
    let deadline = SystemClock.monotonic() + limit;
    runtime
        .run(call(executable, &json!({"user_id": 9}), deadline))
        .await
}

/// A webhook that answers so.
async fn webhook(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

/// One that takes longer than any test waits.
async fn silent() -> MockServer {
    webhook(ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).await
}

async fn answered(template: ResponseTemplate) -> (RunReport, MockServer) {
    let server = webhook(template).await;
    let executable = proxy_function(server.uri(), BTreeMap::new());
    (run(&executable, Duration::from_secs(5)).await, server)
}

#[tokio::test]
async fn one_post_carries_the_event_and_its_answer_is_the_result() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("webhook-id", "00000000-0000-0000-0000-000000001234"))
        .and(header("x-team", "crm"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"success": true})))
        .expect(1)
        .mount(&server)
        .await;
    let headers = BTreeMap::from([("X-Team".to_owned(), "crm".to_owned())]);
    let report = run(
        &proxy_function(server.uri(), headers),
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(value(&report), json!({"success": true}));
    let requests = server.received_requests().await.unwrap();
    let sent: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(sent["type"], "PRE_USER_CREATE");
    assert_eq!(sent["data"], json!({"user_id": 9}));
    assert!(sent["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(sent.as_object().unwrap().contains_key("event_id"));
    let header = |name: &str| requests[0].headers.get(name).unwrap().to_str().unwrap();
    let seconds = header("webhook-timestamp").parse().unwrap();
    let secrets = [[1; 32], [2; 32]].map(|bytes| SigningSecret::from_bytes(&bytes));
    let signed = signature(&secrets, header("webhook-id"), seconds, &requests[0].body);
    assert_eq!(header("webhook-signature"), signed);
}

#[tokio::test]
async fn anything_else_is_a_failure_of_the_other_side() {
    for (template, message) in [
        (
            ResponseTemplate::new(500).set_body_string("oops"),
            "500 Internal Server Error: oops",
        ),
        (
            ResponseTemplate::new(200).set_body_string("[1]"),
            "not with a JSON object",
        ),
        (ResponseTemplate::new(204), "not with a JSON object"),
        (
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
            "redirects are not followed",
        ),
        (
            ResponseTemplate::new(200).set_body_bytes(vec![b' '; 2 << 20]),
            "larger than the limit",
        ),
    ] {
        let (report, _server) = answered(template).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Upstream, "{failed:?}");
        assert!(failed.message.contains(message), "{failed:?}");
        assert_eq!(failed.retry_after, None);
    }
    let (report, _server) =
        answered(ResponseTemplate::new(503).insert_header("retry-after", "7")).await;
    assert_eq!(failure(&report).retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn silence_and_absence_end() {
    let server = silent().await;
    let executable = proxy_function(server.uri(), BTreeMap::new());
    let report = run(&executable, Duration::from_millis(200)).await;
    assert_eq!(failure(&report).kind, FailureKind::Timeout);
    let nobody = proxy_function("http://127.0.0.1:1/secret-path".into(), BTreeMap::new());
    let report = run(&nobody, Duration::from_secs(5)).await;
    assert_eq!(failure(&report).kind, FailureKind::Upstream);
    assert!(
        !failure(&report).message.contains("secret"),
        "{:?}",
        failure(&report)
    );
}

#[tokio::test]
async fn an_address_is_checked_before_it_is_stored() {
    let runtime = runtime(false);
    for (url, good) in [
        ("https://example.com/hook", true),
        ("ftp://example.com/", false),
        ("example.com", false),
        ("http://", false),
    ] {
        let executable = proxy_function(url.into(), BTreeMap::new());
        assert_eq!(
            runtime
                .check(executable.site_id, &executable.source)
                .await
                .is_ok(),
            good,
            "{url}"
        );
    }
    let headers = BTreeMap::from([("bad name".to_owned(), "x".to_owned())]);
    let executable = proxy_function("https://example.com/".into(), headers);
    assert!(
        runtime
            .check(executable.site_id, &executable.source)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn gone_is_for_good() {
    let (report, _server) = answered(ResponseTemplate::new(410)).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Gone, "{failed:?}");
    assert!(failed.kind.is_permanent());
    assert!(failed.message.contains("was switched off"), "{failed:?}");
}

#[tokio::test]
async fn a_private_address_is_not_called() {
    let server = MockServer::start().await;
    let executable = proxy_function(server.uri(), BTreeMap::new());
    let report = run_by(&runtime(false), &executable, Duration::from_secs(5)).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Upstream);
    assert!(failed.message.contains("allow_private"), "{failed:?}");
    assert!(!failed.message.contains("127.0.0.1"), "{failed:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_webhook_that_keeps_failing_is_left_alone() {
    let server = webhook(ResponseTemplate::new(500)).await;
    let runtime = runtime(true);
    let executable = proxy_function(server.uri(), BTreeMap::new());
    let limit = Duration::from_secs(5);
    for _ in 0..limits::CIRCUIT_FAILURES {
        let report = run_by(&runtime, &executable, limit).await;
        assert_eq!(failure(&report).kind, FailureKind::Upstream);
    }
    let report = run_by(&runtime, &executable, limit).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::CircuitOpen, "{failed:?}");
    assert!(failed.retry_after.unwrap() <= limits::CIRCUIT_PAUSE);
    let asked = server.received_requests().await.unwrap().len();
    assert_eq!(u32::try_from(asked).unwrap(), limits::CIRCUIT_FAILURES);
    let state = runtime.webhook(&executable).unwrap();
    assert!(matches!(state.circuit, Circuit::Open { .. }), "{state:?}");
    // What the webhook says about one request says nothing of how it does.
    let (teapot, quick) = (MockServer::start().await, limits::CIRCUIT_FAILURES * 2);
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(418))
        .expect(u64::from(quick))
        .mount(&teapot)
        .await;
    let executable = proxy_function(teapot.uri(), BTreeMap::new());
    for _ in 0..quick {
        run_by(&runtime, &executable, limit).await;
    }
}

/// Runs that waited for a place until little of their caller's time was left.
#[tokio::test]
async fn a_webhook_that_hardly_had_time_is_not_left_alone() {
    let server = silent().await;
    let runtime = runtime(true);
    let executable = proxy_function(server.uri(), BTreeMap::new());
    for _ in 0..=limits::CIRCUIT_FAILURES {
        let report = run_by(&runtime, &executable, Duration::from_millis(50)).await;
        assert_eq!(failure(&report).kind, FailureKind::Timeout);
    }
    let whole = |limit| Call {
        timeout: limit,
        ..call(&executable, &json!({}), SystemClock.monotonic() + limit)
    };
    for _ in 0..limits::CIRCUIT_FAILURES {
        let report = runtime.run(whole(Duration::from_millis(50))).await;
        assert_eq!(failure(&report).kind, FailureKind::Timeout);
    }
    let report = runtime.run(whole(Duration::from_millis(50))).await;
    assert_eq!(failure(&report).kind, FailureKind::CircuitOpen);
}
