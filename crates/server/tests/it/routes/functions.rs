//! `/api/apps/{app}/functions/…`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;

const PATH: &str = "/api/apps/user-management/functions/";

#[tokio::test]
async fn a_function_is_answered_bare() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"name": "Validate User Data", "execution_mode": "system",
        "timeout_seconds": 5, "max_attempts": 2, "description": "Checks"});
    let created = app.post(PATH, &body).bearer(&root).send().await;
    assert_eq!(created.status, 201);
    assert_answer!(created);
    let one = app
        .get(&format!("{PATH}validate-user-data/"))
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(one["slug"], "validate-user-data");
    let list = app.get(PATH).bearer(&root).send().await.ok();
    assert_eq!(list["total"], 1);
    assert_eq!(list["data"][0]["id"], one["id"]);
}

#[tokio::test]
async fn a_function_changes_and_ends() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Deny").await;
    let path = format!("{PATH}deny/");
    let body = json!({"name": "Denies", "is_active": false});
    let changed = app
        .ask("PATCH", &path)
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(changed["name"], "Denies");
    assert_eq!(changed["is_active"], false);
    assert_eq!(changed["version"], 1);
    assert_answer!(
        app.get(&format!("{path}versions/"))
            .bearer(&root)
            .send()
            .await
    );
    let activate = |n: &str| app.post(&format!("{path}versions/{n}/activate/"), &json!({}));
    assert_eq!(activate("1").bearer(&root).send().await.ok()["version"], 1);
    for none in ["2", "0", "x", "-1", "99999999999"] {
        activate(none)
            .bearer(&root)
            .send()
            .await
            .is_error(404, "NOT_FOUND");
    }
    app.ask("DELETE", &path).bearer(&root).send().await.ok();
    app.get(&path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn bad_values_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "x", "execution_mode": "other"}),
        json!({"name": "x", "environment": "cobol"}),
        json!({"name": "x", "execution_mode": "system", "timeout_seconds": 0}),
        json!({"name": "x", "execution_mode": "system", "timeout_seconds": 1e9}),
        json!({"name": "x", "execution_mode": "system", "memory_mb": -1}),
        json!({"name": "x", "execution_mode": "system", "id": 7}),
        json!({"name": "x", "execution_mode": "app"}),
        json!({"name": "x", "execution_mode": "proxy", "webhook_url": "ftp://x"}),
    ] {
        let answer = app.post(PATH, &body).bearer(&root).send().await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        answer.is_error(400, "VALIDATION_ERROR");
    }
}
