//! `/api/cloud/events/{event_name}/subscribe/`

use crate::app::{TestApp, assert_key_order};
use crate::snapshots::assert_answer;
use serde_json::json;

const PATH: &str = "/api/cloud/events/PRE_USER_CREATE/subscribe/";

#[tokio::test]
async fn subscribes_a_function() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    let body = json!({"function_id": id});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
}

#[tokio::test]
async fn the_seeds_keys_are_in_the_seeds_order() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    let asking = app.post(PATH, &json!({"function_id": id})).bearer(&root);
    let keys = [
        "success",
        "message",
        "data",
        "id",
        "event",
        "function",
        "function_name",
        "function_slug",
        "app_name",
        "app_slug",
        "created_at",
        "updated_at",
        "options",
    ];
    assert_key_order(asking, &keys).await;
}

#[tokio::test]
async fn takes_options_and_changes_them() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    let body = json!({"function_id": id, "priority": 5, "timeout_seconds": 2.5,
        "on_timeout": "allow", "max_attempts": 7});
    let options = app.post(PATH, &body).bearer(&root).send().await.ok()["data"]["options"].clone();
    assert_eq!(
        options,
        json!({"priority": 5, "filter": null, "timeout_seconds": 2.5,
        "on_timeout": "allow", "max_attempts": 7, "is_active": true, "closed": false,
        "deactivated_reason": null})
    );
    let body = json!({"function_id": id, "priority": -1});
    assert_answer!(
        app.ask("PATCH", PATH)
            .json(&body)
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn an_invalid_event_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let path = "/api/cloud/events/INVALID_EVENT/subscribe/";
    let body = json!({"function_id": 123});
    assert_answer!(app.post(path, &body).bearer(&root).send().await);
}

#[tokio::test]
async fn a_second_subscription_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let body = json!({"function_id": id});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
    // To another event it may subscribe.
    app.subscribe(&root, "POST_USER_CREATE", id).await;
}

#[tokio::test]
async fn subscribing_again_says_that_it_is_switched_off_and_how_to_switch_it_on() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let change = |body| app.ask("PATCH", PATH).json(&body).bearer(&root).send();
    change(json!({"function_id": id, "is_active": false}))
        .await
        .ok();
    let body = json!({"function_id": id});
    let again = app.post(PATH, &body).bearer(&root).send().await;
    let message = again.is_error(400, "BAD_REQUEST");
    let seeds = format!("Function {id} is already subscribed to event 'PRE_USER_CREATE'");
    assert!(message.starts_with(&seeds), "{message}");
    assert!(message.contains("It was switched off. "), "{message}");
    assert!(message.contains("\"is_active\": true"), "{message}");
    change(json!({"function_id": id, "is_active": true}))
        .await
        .ok();
    let again = app.post(PATH, &body).bearer(&root).send().await;
    assert_eq!(again.is_error(400, "BAD_REQUEST"), seeds);
}

#[tokio::test]
async fn a_function_that_does_not_exist_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"function_id": 123});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
}

#[tokio::test]
async fn changing_a_missing_subscription_is_not_found() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Validate User Data").await;
    let body = json!({"function_id": id, "priority": 1});
    let answer = app
        .ask("PATCH", PATH)
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    answer.is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn malformed_requests_are_explained() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for (body, code, part) in [
        ("{", "BAD_REQUEST", "line 1 column 1"),
        ("{\"function_id\": 1,}", "BAD_REQUEST", "trailing comma"),
        (
            "{}",
            "VALIDATION_ERROR",
            "function_id: This field is required",
        ),
        (
            "",
            "VALIDATION_ERROR",
            "function_id: This field is required",
        ),
        ("[1]", "VALIDATION_ERROR", "not an object"),
        (
            "{\"function_id\": \"1\"}",
            "VALIDATION_ERROR",
            "Use a whole number",
        ),
        (
            "{\"function_id\": 1.5}",
            "VALIDATION_ERROR",
            "Use a whole number",
        ),
        (
            "{\"function_id\": 9223372036854775808}",
            "VALIDATION_ERROR",
            "Use a whole number",
        ),
        (
            "{\"function_id\": 1, \"x\": 1}",
            "VALIDATION_ERROR",
            "x: Unknown field",
        ),
        (
            "{\"function_id\": 1, \"on_timeout\": \"maybe\"}",
            "VALIDATION_ERROR",
            "Use one of deny, allow",
        ),
        (
            "{\"function_id\": 1, \"priority\": 4294967296}",
            "VALIDATION_ERROR",
            "Use a whole number from -2147483648 to 2147483647",
        ),
    ] {
        let asking = app
            .ask("POST", PATH)
            .bearer(&root)
            .raw(body.as_bytes().to_vec());
        let answer = asking
            .header("content-type", "application/json")
            .send()
            .await;
        let message = answer.is_error(400, code);
        assert!(message.contains(part), "{body}: {message}");
    }
}
