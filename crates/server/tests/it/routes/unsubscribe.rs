//! `/api/cloud/events/{event_name}/unsubscribe/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;

const PATH: &str = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";

#[tokio::test]
async fn ends_a_subscription() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Deny").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let body = json!({"function_id": id});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
    // It no longer denies anything.
    let body = json!({"username": "ann", "email": "ann@example.com"});
    app.post("/api/users/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
}

#[tokio::test]
async fn a_missing_subscription_is_not_found() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Deny").await;
    let body = json!({"function_id": id});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
}

#[tokio::test]
async fn a_missing_function_has_no_subscription() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let answer = app
        .post(PATH, &json!({"function_id": 123}))
        .bearer(&root)
        .send()
        .await;
    let message = answer.is_error(404, "NOT_FOUND");
    assert_eq!(
        message,
        "Function 123 was not subscribed to event 'PRE_USER_CREATE'"
    );
}

#[tokio::test]
async fn an_invalid_event_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let path = "/api/cloud/events/NOPE/unsubscribe/";
    let answer = app
        .post(path, &json!({"function_id": 1}))
        .bearer(&root)
        .send()
        .await;
    assert!(
        answer
            .is_error(400, "BAD_REQUEST")
            .starts_with("Invalid event type 'NOPE'.")
    );
}
