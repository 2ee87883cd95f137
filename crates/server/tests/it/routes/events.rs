//! `/api/cloud/events/` and `/api/cloud/events/{event_name}/`

use crate::app::{TestApp, assert_key_order};
use crate::snapshots::assert_answer;
use serde_json::{Value, json};

#[tokio::test]
async fn lists_all_events() {
    let app = TestApp::new().await;
    let root = app.root().await;
    assert_answer!(app.get("/api/cloud/events/").bearer(&root).send().await);
}

/// The API document's own, then what is added, then what tells of refusals.
const EVENTS: [&str; 24] = [
    "PRE_USER_CREATE",
    "POST_USER_CREATE",
    "PRE_USER_UPDATE",
    "POST_USER_UPDATE",
    "PRE_USER_DELETE",
    "POST_USER_DELETE",
    "PRE_LOGIN",
    "POST_LOGIN",
    "POST_LOGIN_FAILED",
    "POST_LOGOUT",
    "PRE_PASSWORD_CHANGE",
    "POST_PASSWORD_CHANGE",
    "POST_PASSWORD_RESET",
    "PRE_ROLE_ASSIGN",
    "POST_ROLE_ASSIGN",
    "PRE_ROLE_REVOKE",
    "POST_ROLE_REVOKE",
    "POST_USER_CREATE_DENIED",
    "POST_USER_UPDATE_DENIED",
    "POST_USER_DELETE_DENIED",
    "POST_LOGIN_DENIED",
    "POST_PASSWORD_CHANGE_DENIED",
    "POST_ROLE_ASSIGN_DENIED",
    "POST_ROLE_REVOKE_DENIED",
];

#[tokio::test]
async fn the_order_is_the_contracts() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let answer = app.get("/api/cloud/events/").bearer(&root).send().await;
    assert_eq!(answer.ok()["data"]["events"], json!(EVENTS));
}

#[tokio::test]
async fn every_event_has_a_sample_of_its_schemas_fields_and_of_a_request() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for event in EVENTS {
        let path = format!("/api/cloud/events/{event}/");
        let answer = app.get(&path).bearer(&root).send().await;
        let data = answer.ok()["data"].clone();
        let names =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let fields = names(&data["params_schema"]["properties"]);
        assert_eq!(names(&data["sample"]), fields, "{event}");
        let request = ["credential_kind", "host", "ip", "request_id", "user_agent"];
        assert_eq!(names(&data["request"]), request, "{event}");
        assert_eq!(data["request"]["credential_kind"], "jwt", "{event}");
    }
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
