//! `…/auth/jwt/token/…`

use crate::app::{Answer, JWT_KEY, PASSWORD, TestApp};
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
    assert_eq!(me["data"]["last_login"], "2025-01-15T10:30:00.000000Z");
}

#[tokio::test]
async fn blanks_around_a_name_and_a_byte_order_mark_do_not_matter() {
    let app = TestApp::new().await;
    for login in [" root", "root \n", "\tRoot@default.example "] {
        for name in ["username", "email"] {
            let body = json!({name: login, "password": PASSWORD}).to_string();
            let body = format!("\u{feff}{body}").into_bytes();
            app.ask("POST", TOKEN).raw(body).send().await.ok();
        }
    }
    let body = json!({"username": " ", "password": PASSWORD});
    let answer = app.post(TOKEN, &body).send().await;
    answer.is_error(400, "VALIDATION_ERROR");
}

async fn refresh(app: &TestApp, token: &Value) -> Answer {
    app.post(REFRESH, &json!({"refresh": token})).send().await
}

async fn me(app: &TestApp, access: &Value) -> u16 {
    let access = access.as_str().unwrap();
    app.get("/api/users/me/").bearer(access).send().await.status
}

#[tokio::test]
async fn a_second_use_ends_its_own_sign_in_and_no_other() {
    let app = TestApp::new().await;
    let (first, elsewhere) = (pair(&app).await, pair(&app).await);
    let second = refresh(&app, &first["refresh"]).await.ok();
    assert_ne!(first["refresh"], second["refresh"]);
    let third = refresh(&app, &second["refresh"]).await.ok();
    for pair in [&first, &second, &third] {
        assert_eq!(me(&app, &pair["access"]).await, 200);
    }
    let repeated = refresh(&app, &first["refresh"]).await;
    repeated.is_error(401, "UNAUTHORIZED");
    // Whoever holds it now, thief or not, is out, access tokens included.
    refresh(&app, &third["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
    for pair in [&first, &second, &third] {
        assert_eq!(me(&app, &pair["access"]).await, 401);
    }
    assert_eq!(me(&app, &elsewhere["access"]).await, 200);
    refresh(&app, &elsewhere["refresh"]).await.ok();
}

#[tokio::test]
async fn of_equal_exchanges_at_once_one_counts_and_the_sign_in_ends() {
    let app = TestApp::new().await;
    let first = pair(&app).await;
    let exchanges = (0..8).map(|_| refresh(&app, &first["refresh"]));
    let answers = futures_util::future::join_all(exchanges).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| it.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert_eq!(me(&app, &won[0].body["access"]).await, 401);
}

#[tokio::test]
async fn a_blacklisted_token_takes_its_sign_in_along() {
    let app = TestApp::new().await;
    let (first, elsewhere) = (pair(&app).await, pair(&app).await);
    let second = refresh(&app, &first["refresh"]).await.ok();
    let body = json!({"refresh": second["refresh"]});
    for _ in 0..2 {
        assert_eq!(app.post(BLACKLIST, &body).send().await.ok(), json!({}));
    }
    refresh(&app, &second["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
    assert_eq!(me(&app, &first["access"]).await, 401);
    assert_eq!(me(&app, &second["access"]).await, 401);
    assert_eq!(me(&app, &elsewhere["access"]).await, 200);
    let body = json!({"refresh": "a.b.c"});
    app.post(BLACKLIST, &body)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn exchanges_are_limited_by_account() {
    let app = TestApp::new().await;
    let mut last = pair(&app).await;
    for _ in 0..60 {
        last = refresh(&app, &last["refresh"]).await.ok();
    }
    let limited = refresh(&app, &last["refresh"]).await;
    limited.is_error(429, "RATE_LIMITED");
    assert_eq!(limited.header("retry-after"), "1");
    app.clock.advance(Duration::from_secs(1));
    refresh(&app, &last["refresh"]).await.ok();
}

#[tokio::test]
async fn a_new_password_ends_everything_but_api_keys() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let key = app.post("/api/cloud/auth/api-keys/", &json!({"name": "k"}));
    let key = key.bearer(&ann).send().await.ok()["data"]["key"].clone();
    let body = json!({"username": "ann", "password": PASSWORD});
    let pair = app.post(TOKEN, &body).send().await.ok();
    let body = json!({"email": "ann", "password": PASSWORD});
    let login = app.post("/_allauth/app/v1/auth/login", &body).send().await;
    let meta = login.ok()["meta"].clone();
    let changed = json!({"password": "another horse"});
    let change = app.ask("PATCH", "/api/users/ann/").json(&changed);
    change.bearer(&ann).send().await.ok();
    for access in [&json!(ann), &pair["access"], &meta["access_token"]] {
        assert_eq!(me(&app, access).await, 401);
    }
    refresh(&app, &pair["refresh"])
        .await
        .is_error(401, "UNAUTHORIZED");
    let session = meta["session_token"].as_str().unwrap();
    let asking = app.get("/api/users/me/").header("x-session-token", session);
    asking.send().await.is_error(401, "UNAUTHORIZED");
    let key = format!("Api-Key {}", key.as_str().unwrap());
    let asking = app.get("/api/users/me/").header("authorization", &key);
    asking.send().await.ok();
    assert_eq!(me(&app, &json!(root)).await, 200, "nobody else's");
    let body = json!({"username": "ann", "password": "another horse"});
    let again = app.post(TOKEN, &body).send().await.ok();
    assert_eq!(me(&app, &again["access"]).await, 200);
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
            "jti": "00000000-0000-7000-8000-000000000000", "ver": 0,
            "fam": "00000000-0000-7000-8000-000000000001", "iat": now, "exp": now + 60});
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
        sign(&claims(json!({"exp": "soon"})), &JWT_KEY, hs256),
        sign(&claims(json!({"iat": now + 60})), &JWT_KEY, hs256),
        sign(&claims(json!({"ver": 1})), &JWT_KEY, hs256),
        sign(&claims(json!({"fam": null})), &JWT_KEY, hs256),
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
    assert_eq!(me(&app, &json!(ann)).await, 401);
    // And stays out with what was open before.
    let body = json!({"is_active": true});
    let change = app.ask("PATCH", "/api/users/ann/").json(&body);
    change.bearer(&root).send().await.ok();
    assert_eq!(me(&app, &json!(ann)).await, 401);
    let again = app.sign_in("ann").await;
    assert_eq!(me(&app, &json!(again)).await, 200);
}
