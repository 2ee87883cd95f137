//! `/api/cloud/events/` and `/api/cloud/events/{event_name}/`

use crate::app::{TestApp, assert_key_order};
use crate::snapshots::assert_answer;
use serde_json::json;

#[tokio::test]
async fn lists_all_events() {
    let app = TestApp::new().await;
    let root = app.root().await;
    assert_answer!(app.get("/api/cloud/events/").bearer(&root).send().await);
}

#[tokio::test]
async fn the_seeds_keys_come_first_and_nothing_else() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let answer = app.get("/api/cloud/events/").bearer(&root).send().await;
    let keys: Vec<_> = answer.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["data", "message", "success"]);
    let asking = app.get("/api/cloud/events/").bearer(&root);
    assert_key_order(asking, &["success", "message", "data", "events"]).await;
}

#[tokio::test]
async fn shows_what_an_event_is() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for event in ["PRE_USER_CREATE", "POST_USER_UPDATE"] {
        let answer = app
            .get(&format!("/api/cloud/events/{event}/"))
            .bearer(&root)
            .send()
            .await;
        insta::with_settings!({snapshot_suffix => event}, { assert_answer!(answer) });
    }
}

#[tokio::test]
async fn an_unknown_event_is_named() {
    let app = TestApp::new().await;
    let root = app.root().await;
    assert_answer!(
        app.get("/api/cloud/events/INVALID_EVENT/")
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn nothing_is_published_over_http() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for path in ["/api/cloud/events/", "/api/cloud/events/PRE_USER_CREATE/"] {
        let answer = app.post(path, &json!({})).bearer(&root).send().await;
        answer.is_error(405, "BAD_REQUEST");
    }
    for path in [
        "/api/cloud/events/PRE_USER_CREATE/publish/",
        "/api/cloud/events/publish/x/",
    ] {
        let answer = app.post(path, &json!({})).bearer(&root).send().await;
        answer.is_error(404, "NOT_FOUND");
    }
}
