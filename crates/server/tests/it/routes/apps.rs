//! `/api/apps/` and `/api/apps/{app_slug}/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;

#[tokio::test]
async fn an_app_lives_and_ends() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"name": "User Management", "description": "People"});
    let created = app.post("/api/apps/", &body).bearer(&root).send().await;
    assert_eq!(created.status, 201);
    assert_answer!(created);
    let path = "/api/apps/user-management/";
    let body = json!({"name": "Users"});
    let changed = app
        .ask("PATCH", path)
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(changed["data"]["name"], "Users");
    assert_eq!(changed["data"]["slug"], "user-management");
    assert_eq!(changed["data"]["description"], "People");
    let got = app.get(path).bearer(&root).send().await.ok();
    assert_eq!(got["data"], changed["data"]);
    app.ask("DELETE", path).bearer(&root).send().await.ok();
    app.get(path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn lists_pages() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for name in ["a", "b", "c"] {
        app.post("/api/apps/", &json!({"name": name}))
            .bearer(&root)
            .send()
            .await
            .ok();
    }
    assert_answer!(
        app.get("/api/apps/?page=2&page_size=2")
            .bearer(&root)
            .send()
            .await
    );
    let last = app
        .get("/api/apps/?limit=1&offset=2")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(last["data"][0]["slug"], "c");
    let answer = app.get("/api/apps/?page=0").bearer(&root).send().await;
    answer.is_error(400, "VALIDATION_ERROR");
    let answer = app.get("/api/apps/?page=x").bearer(&root).send().await;
    answer.is_error(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn bad_values_and_taken_slugs_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let answer = app
        .post("/api/apps/", &json!({"name": " "}))
        .bearer(&root)
        .send()
        .await;
    answer.is_error(400, "VALIDATION_ERROR");
    app.post("/api/apps/", &json!({"name": "A"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_answer!(
        app.post("/api/apps/", &json!({"name": "A"}))
            .bearer(&root)
            .send()
            .await
    );
}
