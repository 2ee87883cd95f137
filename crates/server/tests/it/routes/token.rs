//! `…/auth/jwt/token/…`

use crate::app::{JWT_KEY, PASSWORD, TestApp};
use crate::snapshots::assert_answer;
use serde_json::{Value, json};
use std::time::Duration;

const TOKEN: &str = "/api/auth/jwt/token/";
const REFRESH: &str = "/api/cloud/auth/jwt/token/refresh/";
const BLACKLIST: &str = "/api/auth/jwt/token/blacklist/";

async fn pair(app: &TestApp) -> Value {
    let body = json!({"username": "ROOT", "password": PASSWORD});
    app.post(TOKEN, &body).send().await.ok()
}

#[tokio::test]
async fn name_and_password_give_a_pair() {
    let app = TestApp::new().await;
    for login in ["root", "Root@default.example"] {
        let body = json!({"username": login, "password": PASSWORD});
        let answer = app.post(TOKEN, &body).send().await;
        assert_answer!(answer);
    }
    let access = pair(&app).await["access"].as_str().unwrap().to_owned();
    let me = app.get("/api/users/me/").bearer(&access).send().await.ok();
    assert_eq!(me["data"]["last_login"], "2025-01-15T10:30:00Z");
}

#[tokio::test]
async fn refreshing_rotates_and_a_repeat_is_refused() {
    let app = TestApp::new().await;
    let first = pair(&app).await;
    let refresh = |token: &Value| app.post(REFRESH, &json!({"refresh": token})).send();
    let second = refresh(&first["refresh"]).await.ok();
    assert_ne!(first["refresh"], second["refresh"]);
    refresh(&first["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
    // A repeat within seconds is a clumsy client: the new token lives on.
    let third = refresh(&second["refresh"]).await.ok();
    // Later it may be a thief: everything ends.
    app.clock.advance(Duration::from_secs(60));
    refresh(&first["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
    refresh(&third["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_blacklisted_token_is_of_no_use() {
    let app = TestApp::new().await;
    let pair = pair(&app).await;
    let body = json!({"refresh": pair["refresh"]});
    assert_eq!(app.post(BLACKLIST, &body).send().await.ok(), json!({}));
    app.post(REFRESH, &body)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    let body = json!({"refresh": "a.b.c"});
    app.post(BLACKLIST, &body)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn each_token_is_good_for_its_purpose_only() {
    let app = TestApp::new().await;
    let pair = pair(&app).await;
    let refresh = pair["refresh"].as_str().unwrap();
    app.get("/api/users/me/")
        .bearer(refresh)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    let body = json!({"refresh": pair["access"]});
    app.post(REFRESH, &body)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn tokens_end() {
    let app = TestApp::new().await;
    let pair = pair(&app).await;
    let access = pair["access"].as_str().unwrap();
    app.clock.advance(Duration::from_secs(3600));
    app.get("/api/users/me/").bearer(access).send().await.ok();
    app.clock.advance(Duration::from_secs(6));
    app.get("/api/users/me/")
        .bearer(access)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    app.clock.advance(Duration::from_secs(14 * 24 * 3600));
    let body = json!({"refresh": pair["refresh"]});
    app.post(REFRESH, &body)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_forged_token_proves_nothing() {
    let app = TestApp::new().await;
    let now = 1_736_937_000;
    let claims = |changed: Value| {
        let mut claims = json!({"iss": "tollgate", "aud": "default", "sub": "1", "typ": "access",
            "jti": "00000000-0000-7000-8000-000000000000", "iat": now, "exp": now + 60});
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let sign = |claims: &Value, key: &[u8], algorithm| {
        let header = jsonwebtoken::Header::new(algorithm);
        jsonwebtoken::encode(
            &header,
            claims,
            &jsonwebtoken::EncodingKey::from_secret(key),
        )
        .unwrap()
    };
    let hs256 = jsonwebtoken::Algorithm::HS256;
    let good = sign(&claims(json!({})), &JWT_KEY, hs256);
    app.get("/api/users/me/").bearer(&good).send().await.ok();
    for forged in [
        sign(&claims(json!({})), &[8; 32], hs256),
        sign(&claims(json!({})), &JWT_KEY, jsonwebtoken::Algorithm::HS512),
        sign(&claims(json!({"iss": "other"})), &JWT_KEY, hs256),
        sign(&claims(json!({"aud": "other"})), &JWT_KEY, hs256),
        sign(&claims(json!({"aud": ["default"]})), &JWT_KEY, hs256),
        sign(&claims(json!({"sub": "999"})), &JWT_KEY, hs256),
        sign(&claims(json!({"sub": 1})), &JWT_KEY, hs256),
        sign(&claims(json!({"typ": "refresh"})), &JWT_KEY, hs256),
        sign(&claims(json!({"exp": now - 10})), &JWT_KEY, hs256),
        sign(&claims(json!({"iat": now + 60})), &JWT_KEY, hs256),
        good.replace('.', ".."),
        format!("{good}x"),
    ] {
        app.get("/api/users/me/")
            .bearer(&forged)
            .send()
            .await
            .is_error(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn whoever_is_switched_off_is_out_at_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    app.get("/api/users/me/").bearer(&ann).send().await.ok();
    let body = json!({"is_active": false});
    app.ask("PATCH", "/api/users/ann/")
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    app.get("/api/users/me/")
        .bearer(&ann)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
}
