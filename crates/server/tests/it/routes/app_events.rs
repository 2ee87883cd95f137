//! `/api/apps/{app_slug}/events/` and `/api/apps/{app_slug}/events/{event_name}/`

use crate::app::{TestApp, assert_key_order};
use crate::snapshots::assert_answer;
use serde_json::json;

#[tokio::test]
async fn shows_an_events_subscribers_in_the_app() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in ["Validate User Data", "Check Email Domain"] {
        let id = app.function(&root, name).await;
        app.subscribe(&root, "PRE_USER_CREATE", id).await;
    }
    let path = "/api/apps/user-management/events/PRE_USER_CREATE/";
    assert_answer!(app.get(path).bearer(&root).send().await);
    let keys = [
        "success",
        "message",
        "data",
        "event",
        "app",
        "id",
        "name",
        "slug",
        "total_subscribers",
        "subscribers",
        "subscriber_id",
        "function_id",
        "function_name",
        "function_slug",
        "app_id",
        "app_name",
        "app_slug",
        "created_at",
        "options",
    ];
    assert_key_order(app.get(path).bearer(&root), &keys).await;
}

#[tokio::test]
async fn counts_subscribers_by_event() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "POST_USER_DELETE", id).await;
    assert_answer!(
        app.get("/api/apps/user-management/events/")
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn another_apps_subscribers_are_not_shown() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    app.post("/api/apps/", &json!({"name": "Empty"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let path = "/api/apps/empty/events/PRE_USER_CREATE/";
    let body = app.get(path).bearer(&root).send().await.ok();
    assert_eq!(body["data"]["total_subscribers"], 0);
    assert_eq!(body["data"]["subscribers"], json!([]));
}

#[tokio::test]
async fn an_unknown_app_is_not_found() {
    let app = TestApp::new().await;
    let root = app.root().await;
    assert_answer!(
        app.get("/api/apps/nope/events/PRE_USER_CREATE/")
            .bearer(&root)
            .send()
            .await
    );
    app.get("/api/apps/nope/events/")
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}
