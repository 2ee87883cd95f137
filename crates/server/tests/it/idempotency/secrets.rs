//! `POST /api/secrets/`

use super::{assert_repeats, keyed, total};
use crate::app::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_secret_is_made_once_and_its_value_is_kept_with_no_answer() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"key": "STRIPE", "value": "sk_live_canary"});
    let asking = keyed(&app, "/api/secrets/", "k", &body).bearer(&root);
    let made = assert_repeats(asking, 201).await;
    assert!(!made.to_string().contains("sk_live_canary"), "{made}");
    assert_eq!(total(&app, &root, "/api/secrets/").await, 1);
    let other = json!({"key": "STRIPE", "value": "another"});
    let other = keyed(&app, "/api/secrets/", "k", &other).bearer(&root);
    other.send().await.is_error(409, "CONFLICT");
}

/// The app stands in the query, and it is another request in another app.
#[tokio::test]
async fn the_same_secret_in_another_app_is_another_request() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"key": "STRIPE", "value": "sk_live_canary"});
    let path = "/api/secrets/?app=user-management";
    let asking = keyed(&app, path, "k", &body).bearer(&root);
    assert_repeats(asking, 201).await;
    let other = keyed(&app, "/api/secrets/", "k", &body).bearer(&root);
    other.send().await.is_error(409, "CONFLICT");
    assert_eq!(total(&app, &root, "/api/secrets/").await, 0);
}
