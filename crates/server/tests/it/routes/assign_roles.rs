//! `/api/assign/roles/`, `/api/revoke/roles/` and `/api/apps/{app_slug}/roles/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_role_opens_doors_at_once_and_closes_them_at_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let ann = app.user(&root, "ann", &[]).await;
    let functions = "/api/apps/user-management/functions/";
    app.get(functions)
        .bearer(&ann)
        .send()
        .await
        .is_error(403, "FORBIDDEN");

    let body = json!({"roles": ["user-management:viewer", "user-management:developer"],
        "usernames": ["ann"]});
    assert_answer!(
        app.post("/api/assign/roles/", &body)
            .bearer(&root)
            .send()
            .await
    );
    app.get(functions).bearer(&ann).send().await.ok();
    let me = app.get("/api/users/me/").bearer(&ann).send().await.ok();
    assert_eq!(
        me["data"]["roles"],
        json!(["user-management:developer", "user-management:viewer"])
    );

    let revoked = app
        .ask("DELETE", "/api/revoke/roles/")
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    assert_eq!(revoked.ok()["message"], "Revoked 2 roles successfully");
    app.get(functions)
        .bearer(&ann)
        .send()
        .await
        .is_error(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_role_ends_when_it_says() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let ann = app.user(&root, "ann", &[]).await;
    let body = json!({"roles": ["viewer"], "usernames": ["ann"],
        "expires_at": "2025-01-15T10:30:03Z"});
    app.post("/api/assign/roles/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let functions = "/api/apps/user-management/functions/";
    app.get(functions).bearer(&ann).send().await.ok();
    // Sooner than a cached caller is forgotten.
    app.clock.advance(Duration::from_secs(3));
    app.get(functions)
        .bearer(&ann)
        .send()
        .await
        .is_error(403, "FORBIDDEN");
    let body = json!({"roles": ["viewer"], "usernames": ["ann"],
        "expires_at": "2025-01-15T10:30:03Z"});
    let answer = app
        .post("/api/assign/roles/", &body)
        .bearer(&root)
        .send()
        .await;
    assert!(answer.is_error(400, "VALIDATION_ERROR").contains("future"));
}

#[tokio::test]
async fn unknown_roles_and_users_are_named() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"roles": ["emperor", "nope:viewer", "viewer"], "usernames": ["nobody"]});
    assert_answer!(
        app.post("/api/assign/roles/", &body)
            .bearer(&root)
            .send()
            .await
    );
    for body in [
        json!({"roles": [], "usernames": ["root"]}),
        json!({"roles": ["viewer"], "usernames": []}),
        json!({"roles": vec!["viewer"; 101], "usernames": ["root"]}),
        json!({"roles": ["viewer"], "usernames": ["root"], "expires_at": "soon"}),
    ] {
        let answer = app
            .post("/api/assign/roles/", &body)
            .bearer(&root)
            .send()
            .await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn lists_an_apps_roles() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    assert_answer!(
        app.get("/api/apps/user-management/roles/")
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn an_apps_admin_gives_no_roles() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let ann = app.user(&root, "ann", &["user-management:admin"]).await;
    let body = json!({"roles": ["admin"], "usernames": ["ann"]});
    let answer = app
        .post("/api/assign/roles/", &body)
        .bearer(&ann)
        .send()
        .await;
    answer.is_error(403, "FORBIDDEN");
}
