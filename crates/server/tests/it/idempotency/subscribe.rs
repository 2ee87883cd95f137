//! `POST /api/cloud/events/{event_name}/subscribe/`

use super::{assert_repeats, keyed, replayed};
use crate::app::{TestApp, assert_key_order};
use serde_json::json;

const PATH: &str = "/api/cloud/events/PRE_USER_CREATE/subscribe/";

#[tokio::test]
async fn a_function_is_subscribed_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let function = app.function(&root, "Validate User Data").await;
    let body = json!({"function_id": function});
    let asking = keyed(&app, PATH, "k", &body).bearer(&root);
    let made = assert_repeats(asking.clone(), 200).await;
    assert_eq!(made["data"]["function"], function);
    // The document's own keys in the document's order, stored or not.
    let keys = ["success", "message", "data", "id", "event", "function"];
    assert_key_order(asking, &keys).await;
    let without = app.post(PATH, &body).bearer(&root).send().await;
    without.is_error(400, "BAD_REQUEST");
    let twice = keyed(&app, PATH, "k2", &body).bearer(&root).send().await;
    let message = format!("Function {function} is already subscribed to event 'PRE_USER_CREATE'");
    assert_eq!(twice.is_error(400, "BAD_REQUEST"), message);
}

#[tokio::test]
async fn the_key_holds_for_its_event_only() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"function_id": app.function(&root, "Enrich").await});
    keyed(&app, PATH, "k", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let other = "/api/cloud/events/POST_USER_CREATE/subscribe/";
    let refused = keyed(&app, other, "k", &body).bearer(&root).send().await;
    refused.is_error(409, "CONFLICT");
    let made = keyed(&app, other, "k2", &body).bearer(&root).send().await;
    assert!(!replayed(&made));
    made.ok();
}
