//! The proxy runtime against a server on this machine.

use crate::support::{SITE, call, failure, proxy_function, value};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::egress::EgressHosts;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::functions::Executable;
use tollgate_core::functions::webhook::{Circuit, FindSecrets, SigningSecret, signature};
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, CheckError, RunReport, Runtime as _};
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::FailureKind;
use tollgate_core::time::{Clock as _, SystemClock};
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};
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
    let outbound = Outbound::new(config, &Supervisor::default()).unwrap();
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
    // The event's time; the attempt has its own in a header.
    assert_eq!(sent["timestamp"], "2025-01-15T10:30:00.000000Z");
    assert!(sent.as_object().unwrap().contains_key("event_id"));
    let header = |name: &str| requests[0].headers.get(name).unwrap().to_str().unwrap();
    let seconds = header("webhook-timestamp").parse().unwrap();
    assert!(SystemClock.now().as_seconds() - seconds < 60);
    let secrets = [[1; 32], [2; 32]].map(|bytes| SigningSecret::from_bytes(&bytes));
    let signed = signature(&secrets, header("webhook-id"), seconds, &requests[0].body);
    assert_eq!(header("webhook-signature"), signed);
}

#[tokio::test]
async fn anything_else_is_a_failure_of_the_other_side() {
    for (template, message) in [
        (
            ResponseTemplate::new(500).set_body_string("oops"),
            "500 Internal Server Error; the record of this run shows what it said",
        ),
        (ResponseTemplate::new(404), "answered 404 Not Found"),
        (
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
            "redirects are not followed",
        ),
    ] {
        let (report, _server) = answered(template).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Upstream, "{failed:?}");
        assert!(failed.message.contains(message), "{failed:?}");
        assert!(
            !failed.message.contains("oops"),
            "whoever caused it may be anybody"
        );
        let said = failed.traceback.as_deref().unwrap_or_default();
        assert_eq!(
            said.contains("oops"),
            failed.message.contains("500"),
            "{said}"
        );
        assert_eq!(failed.retry_after, None);
    }
}

/// What a run under `event` comes to at a webhook that answers so.
async fn under(event: Option<EventType>, template: ResponseTemplate) -> RunReport {
    let server = webhook(template).await;
    let executable = proxy_function(server.uri(), BTreeMap::new());
    let deadline = SystemClock.monotonic() + Duration::from_secs(10);
    let mut call = call(&executable, &json!({}), deadline);
    call.context.event = event;
    runtime(true).run(call).await
}

const PRE: Option<EventType> = Some(PRE_USER_CREATE);
const POST: Option<EventType> = Some(POST_USER_CREATE);

#[tokio::test]
async fn any_2xx_is_delivered() {
    let large = vec![b'x'; limits::RESULT_BYTES + 1];
    let new = ResponseTemplate::new;
    for (template, expected) in [
        (new(204), json!(null)),
        (new(200), json!(null)),
        (new(200).set_body_string(" \n"), json!(null)),
        (new(202).set_body_string("accepted"), json!(null)),
        (
            new(200).set_body_raw("<html>ok</html>", "text/html"),
            json!(null),
        ),
        (new(201).set_body_bytes(vec![0xff, 0xfe]), json!(null)),
        (new(200).set_body_string("[1]"), json!([1])),
        (new(299).set_body_string("\"ok\""), json!("ok")),
        (new(200).set_body_json(json!({"id": 7})), json!({"id": 7})),
        (
            new(200).set_body_string("\u{feff}{\"id\": 7}"),
            json!({"id": 7}),
        ),
        (
            new(200).set_body_json(json!({"success": false})),
            json!({"success": false}),
        ),
    ] {
        for event in [POST, None] {
            assert_eq!(
                value(&under(event, template.clone()).await),
                expected,
                "{event:?}"
            );
        }
    }
    let text = under(POST, new(202).set_body_string("accepted")).await;
    assert!(text.logs[0].message.contains("not JSON"), "{:?}", text.logs);
    // Delivered, and the caller's value does not fit.
    let answer = new(200).set_body_bytes(large);
    assert_eq!(value(&under(POST, answer.clone()).await), json!(null));
    assert_eq!(
        failure(&under(None, answer.clone()).await).kind,
        FailureKind::Limit
    );
    assert_eq!(failure(&under(PRE, answer).await).kind, FailureKind::Limit);
}

#[tokio::test]
async fn a_pre_event_goes_on_with_an_empty_answer_and_not_with_a_text() {
    let new = ResponseTemplate::new;
    for template in [new(204), new(200), new(202), new(200).set_body_string("  ")] {
        assert_eq!(value(&under(PRE, template).await), json!(null));
    }
    for template in [
        new(200).set_body_string("OK"),
        new(200).set_body_raw("<html>log in</html>", "text/html"),
        new(202).set_body_string("{\"success\": tru"),
        new(200).set_body_bytes(vec![0xff, 0xfe]),
    ] {
        let report = under(PRE, template).await;
        assert_eq!(failure(&report).kind, FailureKind::NotJson);
        assert!(
            failure(&report).message.contains("empty body agrees"),
            "{report:?}"
        );
        assert!(failure(&report).traceback.is_some(), "{report:?}");
    }
    // Digits that a double does not hold are the webhook's own.
    let exact = r#"{"params": {"attributes": {"n": 9007199254740993.10}}}"#;
    let report = under(PRE, new(200).set_body_string(exact)).await;
    assert_eq!(report.result.unwrap().as_str(), exact);
}

#[tokio::test]
async fn an_object_that_says_no_is_a_no_whatever_the_status() {
    let no = json!({"success": false, "error": "taken", "errors": {"email": "taken"}});
    for status in [200, 202, 302, 400, 401, 403, 404, 422, 429, 500, 503] {
        let template = ResponseTemplate::new(status).set_body_json(&no);
        assert_eq!(value(&under(PRE, template.clone()).await), no, "{status}");
        if status < 300 {
            continue;
        }
        for event in [POST, None] {
            let report = under(event, template.clone()).await;
            let failed = failure(&report);
            assert_eq!(failed.kind, FailureKind::Upstream, "{status}");
            assert!(failed.message.contains("taken"), "{failed:?}");
        }
    }
    // Neither is anything else, however much it looks like it.
    for body in [
        "{\"success\": true}",
        "{\"error\": \"taken\"}",
        "[{\"success\": false}]",
        "false",
    ] {
        let template = ResponseTemplate::new(400).set_body_string(body);
        let report = under(PRE, template).await;
        assert_eq!(failure(&report).kind, FailureKind::Upstream, "{body}");
        assert!(!failure(&report).message.contains("taken"), "{body}");
    }
    let gone = ResponseTemplate::new(410).set_body_json(&no);
    let report = under(PRE, gone).await;
    assert_eq!(failure(&report).kind, FailureKind::Gone);
    assert_eq!(
        failure(&report).message,
        "The webhook answered 410 Gone: taken"
    );
}

/// Numbers that nobody reads are told from what is no JSON, and hide no reason.
#[tokio::test]
async fn numbers_that_nobody_reads_are_named() {
    let long = "9".repeat(4301);
    for (number, kind, words) in [
        (
            "1e400",
            FailureKind::NotJson,
            "a number that is out of range at `n`",
        ),
        (
            long.as_str(),
            FailureKind::Limit,
            "an integer of 4301 digits at `n`",
        ),
    ] {
        let template = ResponseTemplate::new(200).set_body_string(format!("{{\"n\":{number}}}"));
        for event in [PRE, None] {
            let report = under(event, template.clone()).await;
            assert_eq!(failure(&report).kind, kind, "{report:?}");
            assert!(failure(&report).message.contains(words), "{report:?}");
        }
        let report = under(POST, template).await;
        assert_eq!(value(&report), json!(null));
        assert!(report.logs[0].message.contains(words), "{report:?}");
        let no = format!(r#"{{"success":false,"error":"no","n":{number}}}"#);
        for status in [200, 404, 599] {
            let template = ResponseTemplate::new(status).set_body_string(no.clone());
            let report = under(PRE, template).await;
            assert_eq!(value(&report), json!({"success": false, "error": "no"}));
            assert!(report.logs[0].message.contains(words), "{report:?}");
        }
    }
    // What a double holds in 401 digits is passed on.
    let fits = format!("{{\"n\":1{}}}", "0".repeat(400));
    let report = under(
        PRE,
        ResponseTemplate::new(200).set_body_string(fits.clone()),
    )
    .await;
    assert_eq!(report.result.unwrap().as_str(), fits);
}

#[tokio::test]
async fn a_webhook_says_in_seconds_or_with_a_date_when_to_come_back() {
    let asked = async |status, text: &str| {
        let template = ResponseTemplate::new(status).insert_header("retry-after", text);
        failure(&under(POST, template).await).retry_after
    };
    let seconds = |count| Some(Duration::from_secs(count));
    for status in [429, 500, 502, 503] {
        assert_eq!(asked(status, "7").await, seconds(7), "{status}");
    }
    assert_eq!(asked(503, " 7 ").await, seconds(7));
    assert_eq!(asked(503, "0").await, seconds(0));
    let most = Some(limits::RETRY_MAX);
    assert_eq!(asked(503, "99999999999999999999999").await, most);
    // All three forms of HTTP, in the past and far ahead.
    for (date, expected) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(0)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(0)),
        ("Sun Nov  6 08:49:37 1994", seconds(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", most),
    ] {
        assert_eq!(asked(503, date).await, expected, "{date}");
    }
    let soon = SystemClock.now().plus(Duration::from_secs(60)).as_seconds();
    let soon = std::time::UNIX_EPOCH + Duration::from_secs(soon.unsigned_abs());
    let told = asked(503, &httpdate::fmt_http_date(soon)).await.unwrap();
    assert!((50..=60).contains(&told.as_secs()), "{told:?}");
    for nonsense in [
        "",
        "soon",
        "-5",
        "1.5",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "2026-01-01T00:00:00Z",
    ] {
        assert_eq!(asked(503, nonsense).await, None, "{nonsense}");
    }
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
                .check(
                    executable.site_id,
                    &executable.source,
                    &EgressHosts::default()
                )
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
            .check(
                executable.site_id,
                &executable.source,
                &EgressHosts::default()
            )
            .await
            .is_err()
    );
}

/// What `tollgate admin egress` lists binds webhooks as it binds requests.
#[tokio::test]
async fn only_a_sites_hosts_are_called() {
    let hosts = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        EgressHosts::parse(&names).unwrap()
    };
    let runtime = runtime(true);
    for (url, listed, may) in [
        ("https://example.com/hook", &["example.com"][..], true),
        ("https://EXAMPLE.com./hook", &["example.com"], true),
        ("https://example.com/hook", &["api.example.com"], false),
        ("https://a.example.com/hook", &["*.example.com"], true),
        ("https://93.184.215.14/", &["example.com"], false),
        ("https://example.com.evil.test/", &["example.com"], false),
        ("https://example.com/hook", &[], true),
    ] {
        let source = proxy_function(url.into(), BTreeMap::new()).source.clone();
        let checked = runtime.check(SITE, &source, &hosts(listed)).await;
        assert_eq!(checked.is_ok(), may, "{url} of {listed:?}");
        if let Err(CheckError::Field(error)) = checked {
            assert_eq!(error.field, "webhook_url");
            assert!(error.message.contains("tollgate admin egress"), "{error:?}");
        }
    }
    // The host was taken off the list after the function was saved.
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({}));
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&server)
        .await;
    for (listed, may) in [(&["example.com"][..], false), (&["127.0.0.1"], true)] {
        let mut function = Executable::clone(&proxy_function(server.uri(), BTreeMap::new()));
        function.egress_hosts = hosts(listed);
        let report = run(&Arc::new(function), Duration::from_secs(5)).await;
        assert_eq!(report.result.is_ok(), may, "{listed:?}");
        if !may {
            let failure = failure(&report);
            assert_eq!(failure.kind, FailureKind::Upstream);
            assert!(
                failure.message.contains("may not reach that host"),
                "{failure:?}"
            );
        }
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn gone_is_for_good() {
    let (report, _server) = answered(ResponseTemplate::new(410)).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Gone, "{failed:?}");
    assert!(failed.kind.is_permanent());
    assert!(failed.message.contains("410 Gone"), "{failed:?}");
    let said = ResponseTemplate::new(410).set_body_string("moved to /v2");
    let (report, _server) = answered(said).await;
    let traceback = failure(&report).traceback.as_deref().unwrap_or_default();
    assert!(traceback.contains("moved to /v2"), "{report:?}");
    let (report, _server) = answered(ResponseTemplate::new(599)).await;
    assert_eq!(failure(&report).message, "The webhook answered 599");
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
