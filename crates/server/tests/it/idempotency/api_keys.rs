//! `POST /api/cloud/auth/api-keys/`

use super::{keyed, replayed, total};
use crate::app::TestApp;
use serde_json::json;

const PATH: &str = "/api/cloud/auth/api-keys/";

#[tokio::test]
async fn a_key_is_made_once_and_its_secret_kept_nowhere() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let asking = keyed(&app, PATH, "k", &json!({"name": "robot"})).bearer(&root);
    let made = asking.clone().send().await;
    assert_eq!((made.status, replayed(&made)), (201, false));
    let secret = made.body["data"]["key"].as_str().unwrap().to_owned();
    let id = made.body["data"]["id"].as_i64().unwrap();

    let again = asking.send().await;
    assert!(replayed(&again));
    let message = again.is_error(409, "CONFLICT");
    assert!(message.contains(&format!("API key {id} ")), "{message}");
    assert!(!again.body.to_string().contains(&secret));
    assert_eq!(total(&app, &root, PATH).await, 1);

    app.store.close();
    for file in app.files() {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{}", file.display());
    }
}
