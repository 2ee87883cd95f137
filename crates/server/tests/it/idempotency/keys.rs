//! The key itself: how it looks, how long it holds.

use super::{assert_repeats, keyed, replayed};
use crate::app::TestApp;
use serde_json::json;
use std::time::Duration;
use tollgate_core::limits;

const PATH: &str = "/api/apps/";

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"name": "A"});
    for key in ["", "a b", "schlüssel", &"k".repeat(256)] {
        let answer = keyed(&app, PATH, key, &body).bearer(&root).send().await;
        let message = answer.is_error(400, "BAD_REQUEST");
        assert!(message.starts_with("Idempotency-Key"), "{key:?}: {message}");
    }
    let two = keyed(&app, PATH, "a", &body).header("idempotency-key", "b");
    two.bearer(&root).send().await.is_error(400, "BAD_REQUEST");
    let longest = "k".repeat(255);
    assert_repeats(keyed(&app, PATH, &longest, &body).bearer(&root), 201).await;
}

#[tokio::test]
async fn a_key_holds_for_a_day() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let asking = keyed(&app, PATH, "k", &json!({"name": "A"}));
    asking.clone().bearer(&root).send().await.ok();
    app.clock
        .advance(limits::IDEMPOTENCY_TTL - Duration::from_secs(1));
    let root = app.root().await;
    assert!(replayed(&asking.clone().bearer(&root).send().await));
    app.clock.advance(Duration::from_secs(1));
    let late = asking.bearer(&root).send().await;
    assert_eq!(
        late.is_error(409, "CONFLICT"),
        "That slug is already in use"
    );
    // The key is free for anything now.
    let other = keyed(&app, PATH, "k", &json!({"name": "B"})).bearer(&root);
    assert_repeats(other, 201).await;
}
