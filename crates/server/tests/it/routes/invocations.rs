//! `/api/invocations/…` and `/api/result/{task_id}/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// An app with one run that worked and one that did not.
async fn two_runs(app: &TestApp, root: &str) -> Value {
    app.user_management(root).await;
    let mut last = Value::Null;
    for (name, slug) in [
        ("Broken", "broken"),
        ("Validate User Data", "validate-user-data"),
    ] {
        app.function(root, name).await;
        let path = format!("/api/apps/user-management/functions/{slug}/execute/");
        let body = json!({"params": {"username": "ann"}});
        last = app.post(&path, &body).bearer(root).send().await.body;
    }
    last["invocation"].clone()
}

#[tokio::test]
async fn one_invocation_is_answered_bare() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let run = two_runs(&app, &root).await;
    let path = format!("/api/invocations/{}/", run["id"]);
    let answer = app.get(&path).bearer(&root).send().await;
    assert_eq!(answer.body, run);
    assert_answer!(answer);
}

#[tokio::test]
async fn lists_leave_out_the_logs_and_can_be_filtered() {
    let app = TestApp::new().await;
    let root = app.root().await;
    two_runs(&app, &root).await;
    assert_answer!(app.get("/api/invocations/").bearer(&root).send().await);
    for (query, total) in [
        ("status=SUCCESS", 1),
        ("status=failure", 1),
        ("status=failed", 1),
        ("status=PENDING", 0),
        ("has_error=True", 1),
        ("has_error=false", 1),
        ("function_slug=broken", 1),
        ("function_slug=nope", 0),
        ("app=user-management", 2),
        ("app=nope", 0),
        ("event=PRE_USER_CREATE", 0),
        ("limit=1", 2),
    ] {
        let path = format!("/api/invocations/?{query}");
        let list = app.get(&path).bearer(&root).send().await.ok();
        assert_eq!(list["total"], total, "{query}");
    }
    for query in ["status=odd", "event=odd", "has_error=odd"] {
        let path = format!("/api/invocations/?{query}");
        assert_eq!(
            app.get(&path).bearer(&root).send().await.status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_task_tells_its_result() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let run = two_runs(&app, &root).await;
    let path = format!("/api/result/{}/", run["task_id"].as_str().unwrap());
    assert_answer!(app.get(&path).bearer(&root).send().await);
    for unknown in ["00000000-0000-7000-8000-000000000000", "x", "%00"] {
        let answer = app
            .get(&format!("/api/result/{unknown}/"))
            .bearer(&root)
            .send()
            .await;
        answer.is_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn without_the_right_one_sees_ones_own() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let run = two_runs(&app, &root).await;
    let ann = app.user(&root, "ann", &[]).await;
    let list = app.get("/api/invocations/").bearer(&ann).send().await.ok();
    assert_eq!(list["total"], 0);
    for path in [
        format!("/api/invocations/{}/", run["id"]),
        format!("/api/result/{}/", run["task_id"].as_str().unwrap()),
    ] {
        app.get(&path)
            .bearer(&ann)
            .send()
            .await
            .is_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_stream_tells_of_changes() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let request = Request::get("/api/invocations/stream/")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {root}"));
    let response = app
        .server
        .router()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body();
    let path = "/api/apps/user-management/functions/validate-user-data/execute/";
    let run = app
        .post(path, &json!({"async": true}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let mut seen = String::new();
    while !seen.contains("\"succeeded\"") {
        let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&frame).unwrap());
    }
    assert!(seen.contains("event: invocation\n"), "{seen}");
    assert!(
        seen.contains(&format!("\"id\":{}", run["invocation"]["id"])),
        "{seen}"
    );
}
