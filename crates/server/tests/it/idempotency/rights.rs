//! An answer that was given before does not outlive the right to it, nor does a request that waits for
//! another one with the same key.

use super::{keyed, replayed};
use crate::app::TestApp;
use serde_json::{Value, json};

const FUNCTIONS: &str = "/api/apps/user-management/functions/";

async fn take(app: &TestApp, root: &str, role: &str) {
    let body = json!({"roles": [role], "usernames": ["ann"]});
    let taking = app.ask("DELETE", "/api/revoke/roles/").json(&body);
    taking.bearer(root).send().await.ok();
}

/// Every creating route, who may use it, and what it is sent.
fn routes() -> Vec<(&'static str, &'static str, Value)> {
    let execute = "/api/apps/user-management/functions/return-all/execute/";
    let function = json!({"name": "New", "code": "def main(p): return 1"});
    let user = json!({"username": "new", "email": "new@example.com"});
    let developer = "user-management:developer";
    vec![
        ("/api/users/", "admin", user),
        ("/api/apps/", "admin", json!({"name": "New"})),
        (FUNCTIONS, developer, function),
        (execute, developer, json!({"params": {"a": 1}})),
        ("/api/invocations/1/replay/", developer, json!({})),
        (
            "/api/secrets/?app=user-management",
            developer,
            json!({"key": "K", "value": "v"}),
        ),
        (
            "/api/cloud/events/POST_USER_CREATE/subscribe/",
            developer,
            json!({"function_id": 1, "filter": "true"}),
        ),
    ]
}

#[tokio::test]
async fn a_stored_answer_ends_with_the_right_to_it() {
    for (path, role, body) in routes() {
        let app = TestApp::new().await;
        let root = app.root().await;
        app.user_management(&root).await;
        app.function(&root, "Return All").await;
        let first = format!("{FUNCTIONS}return-all/execute/");
        app.post(&first, &json!({})).bearer(&root).send().await.ok();
        let ann = app.user(&root, "ann", &[role]).await;
        let asking = keyed(&app, path, "k", &body).bearer(&ann);
        let made = asking.clone().send().await;
        assert!(made.status < 300 && !replayed(&made), "{path}: {made:?}");
        let again = asking.clone().send().await;
        assert!(again.status < 300 && replayed(&again), "{path}");
        take(&app, &root, role).await;
        let refused = asking.send().await;
        assert!(matches!(refused.status, 403 | 404), "{path}: {refused:?}");
        assert!(!replayed(&refused), "{path}");
    }
}

/// The second one waits for the first one, which is refused; its right was taken while it waited.
#[tokio::test]
async fn a_request_that_waited_for_its_turn_is_asked_again() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let look = app.function(&root, "Look").await;
    app.subscribe(&root, "PRE_USER_CREATE", look).await;
    app.gate.let_go(1);
    let ann = app.user(&root, "ann", &["admin"]).await;
    app.gate.entered().await;
    let body = json!({"username": "new", "email": "new@example.com"});
    let asking = keyed(&app, "/api/users/", "k", &body).bearer(&ann);
    let first = tokio::spawn(asking.clone().send());
    app.gate.entered().await;
    let second = tokio::spawn(asking.send());
    take(&app, &root, "admin").await;
    app.gate.let_go(9);
    first.await.unwrap().is_error(403, "FORBIDDEN");
    second.await.unwrap().is_error(403, "FORBIDDEN");
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    // Ann's own creation, and the first one: the second asked no function.
    assert_eq!(list["total"], 2, "{list}");
}
