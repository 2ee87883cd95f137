//! `/_allauth/app/v1/auth/login` and `/_allauth/app/v1/auth/session`

use crate::app::{PASSWORD, TestApp};
use crate::snapshots::assert_answer;
use serde_json::{Value, json};

const PATH: &str = "/_allauth/app/v1/auth/login";

#[tokio::test]
async fn a_session_begins_and_ends() {
    let app = TestApp::new().await;
    let body = json!({"email": "root@default.example", "password": PASSWORD});
    let answer = app.post(PATH, &body).send().await;
    assert_answer!(answer);
    let meta = &answer.body["meta"];
    let session = meta["session_token"].as_str().unwrap();
    let access = meta["access_token"].as_str().unwrap();
    let me = || app.get("/api/users/me/");
    assert_eq!(me().bearer(access).send().await.status, 200);
    assert_eq!(
        me().header("x-session-token", session).send().await.status,
        200
    );
    let end = || app.ask("DELETE", "/_allauth/app/v1/auth/session");
    assert_eq!(
        end().header("x-session-token", session).send().await.status,
        200
    );
    me().header("x-session-token", session)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    me().bearer(access)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    end()
        .header("x-session-token", session)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    end().send().await.is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_unknown_account_and_a_wrong_password_look_the_same() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"username": "off", "email": "off@example.com", "password": PASSWORD,
        "is_active": false});
    app.post("/api/users/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let body = json!({"username": "nopass", "email": "nopass@example.com"});
    app.post("/api/users/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let mut bodies: Vec<Value> = Vec::new();
    for (login, password) in [
        ("root@default.example", "wrong password"),
        ("nobody@default.example", PASSWORD),
        ("off@example.com", PASSWORD),
        ("nopass@example.com", ""),
    ] {
        let answer = app
            .post(PATH, &json!({"email": login, "password": password}))
            .send()
            .await;
        answer.is_error(401, "UNAUTHORIZED");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn attempts_are_limited_by_account() {
    let app = TestApp::new().await;
    let body = json!({"email": "nobody@example.com", "password": "wrong"});
    for _ in 0..10 {
        app.post(PATH, &body)
            .send()
            .await
            .is_error(401, "UNAUTHORIZED");
    }
    let answer = app.post(PATH, &body).send().await;
    answer.is_error(429, "RATE_LIMITED");
    assert_eq!(answer.header("retry-after"), "6");
}

#[tokio::test]
async fn a_login_needs_a_name_and_a_password() {
    let app = TestApp::new().await;
    for body in [
        json!({}),
        json!({"email": "a@b.c"}),
        json!({"password": "x"}),
        json!({"email": "", "password": "x"}),
    ] {
        app.post(PATH, &body)
            .send()
            .await
            .is_error(400, "VALIDATION_ERROR");
    }
}
