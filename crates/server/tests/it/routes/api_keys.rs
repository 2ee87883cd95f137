//! `/api/cloud/auth/api-keys/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;
use std::time::Duration;

const PATH: &str = "/api/cloud/auth/api-keys/";

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_deleted() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let created = app
        .post(PATH, &json!({"name": "ci"}))
        .bearer(&root)
        .send()
        .await;
    assert_eq!(created.status, 201);
    assert_answer!(created);
    let key = created.body["data"]["key"].as_str().unwrap().to_owned();
    let me = || {
        app.get("/api/users/me/")
            .header("authorization", &format!("Api-Key {key}"))
    };
    assert_eq!(me().send().await.ok()["data"]["username"], "root");
    let list = app.get(PATH).bearer(&root).send().await.ok();
    assert_eq!(list["total"], 1);
    assert!(list["data"][0].get("key").is_none());
    let id = &list["data"][0]["id"];
    app.ask("DELETE", &format!("{PATH}{id}/"))
        .bearer(&root)
        .send()
        .await
        .ok();
    me().send().await.is_error(401, "UNAUTHORIZED");
    let body = json!({"id": id});
    let again = app
        .ask("DELETE", PATH)
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    again.is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_keys_use_is_noted_to_the_hour() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let created = app.post(PATH, &json!({"name": "ci"})).bearer(&root);
    let key = created.send().await.ok()["data"]["key"].clone();
    let key = format!("Api-Key {}", key.as_str().unwrap());
    let last_used = async || {
        let list = app.get(PATH).bearer(&root).send().await.ok();
        list["data"][0]["last_used_at"].clone()
    };
    assert_eq!(last_used().await, json!(null));
    for (minutes, noted) in [
        (0, "2025-01-15T10:30:00.000000Z"),
        (59, "2025-01-15T10:30:00.000000Z"),
        (1, "2025-01-15T11:30:00.000000Z"),
    ] {
        app.clock.advance(Duration::from_secs(minutes * 60));
        let asking = app.get("/api/users/me/").header("authorization", &key);
        asking.send().await.ok();
        assert_eq!(last_used().await, noted);
    }
}

#[tokio::test]
async fn a_key_ends_when_it_says() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"name": "brief", "expires_at": "2025-01-15T10:31:00Z"});
    let created = app.post(PATH, &body).bearer(&root).send().await.ok();
    let key = created["data"]["key"].as_str().unwrap().to_owned();
    let me = || {
        app.get("/api/users/me/")
            .header("authorization", &format!("api-key {key}"))
    };
    me().send().await.ok();
    app.clock.advance(Duration::from_secs(60));
    me().send().await.is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn nobody_reaches_another_users_keys() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let created = app
        .post(PATH, &json!({"name": "ci"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let path = format!("{PATH}{}/", created["data"]["id"]);
    app.ask("DELETE", &path)
        .bearer(&ann)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    assert_eq!(app.get(PATH).bearer(&ann).send().await.ok()["total"], 0);
}

#[tokio::test]
async fn bad_values_and_too_many_keys_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "a\nb"}),
        json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x", "expires_at": 5}),
    ] {
        app.post(PATH, &body)
            .bearer(&root)
            .send()
            .await
            .is_error(400, "VALIDATION_ERROR");
    }
    for n in 0..50 {
        let body = json!({"name": n.to_string()});
        app.post(PATH, &body).bearer(&root).send().await.ok();
    }
    let answer = app
        .post(PATH, &json!({"name": "51"}))
        .bearer(&root)
        .send()
        .await;
    answer.is_error(400, "BAD_REQUEST");
}
