//! `/api/invocations/{id}/replay/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;

/// An app and one run of its function.
async fn one_run(app: &TestApp, root: &str, name: &str, slug: &str) -> i64 {
    app.user_management(root).await;
    app.function(root, name).await;
    let path = format!("/api/apps/user-management/functions/{slug}/execute/");
    let body = json!({"params": {"username": "ann"}});
    let run = app.post(&path, &body).bearer(root).send().await.body;
    let invocation = [&run["invocation"], &run["data"]["invocation"]]
        .into_iter()
        .find_map(|it| it["id"].as_i64());
    invocation.unwrap()
}

fn path(id: i64) -> String {
    format!("/api/invocations/{id}/replay/")
}

#[tokio::test]
async fn waits_for_the_result() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let id = one_run(&app, &root, "Validate User Data", "validate-user-data").await;
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    let answer = app.post(&path(id), &json!({})).bearer(&dev).send().await;
    assert_answer!(answer);
    assert_eq!(answer.body["invocation"]["replay_of"], id);
    assert_eq!(answer.body["invocation"]["user_username"], "root");
    assert_eq!(answer.body["invocation"]["acting_username"], "dev");
    let own = json!({"version": "own", "async": false});
    let again = app.post(&path(id), &own).bearer(&dev).send().await.ok();
    assert_eq!(again["invocation"]["trigger_type"], "replay");
}

#[tokio::test]
async fn queues_when_asked() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let id = one_run(&app, &root, "Validate User Data", "validate-user-data").await;
    let answer = app.post(&path(id), &json!({"async": true}));
    let answer = answer.bearer(&root).send().await;
    assert_eq!((answer.status, &answer.body["queued"]), (202, &json!(true)));
    assert_eq!(answer.body["message"], "Function execution started");
}

#[tokio::test]
async fn a_broken_function_is_explained() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let id = one_run(&app, &root, "Broken", "broken").await;
    let answer = app.post(&path(id), &json!({})).bearer(&root).send().await;
    answer.is_error(400, "FUNCTION_FAILED");
    assert_eq!(answer.body["data"]["invocation"]["replay_of"], id);
}

#[tokio::test]
async fn one_needs_to_see_the_run_and_to_execute() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let id = one_run(&app, &root, "Validate User Data", "validate-user-data").await;
    let ann = app.user(&root, "ann", &[]).await;
    let viewer = app.user(&root, "viewer", &["user-management:viewer"]).await;
    let answer = app.post(&path(id), &json!({})).bearer(&ann).send().await;
    answer.is_error(404, "NOT_FOUND");
    let absent = app.post(&path(999_999), &json!({})).bearer(&ann);
    assert_eq!(absent.send().await.body, answer.body);
    let answer = app.post(&path(id), &json!({})).bearer(&viewer).send().await;
    answer.is_error(403, "FORBIDDEN");
}
