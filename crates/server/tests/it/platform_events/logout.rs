//! Signing out, and what no event carries.

use super::login::{REFRESH, SESSION, TOKEN, sign_in};
use super::{agrees, ended, given, runs, world};
use crate::app::{PASSWORD, TestApp};
use serde_json::{Value, json};

const BLACKLIST: &str = "/api/cloud/auth/jwt/token/blacklist/";
const END: &str = "/_allauth/app/v1/auth/session";

async fn blacklist(app: &TestApp, refresh: &Value) -> u16 {
    let body = json!({"refresh": refresh});
    app.post(BLACKLIST, &body).send().await.status
}

#[tokio::test]
async fn the_end_of_a_session_is_told() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    agrees(&app, &root, "POST_LOGOUT", "bye").await;
    let session = sign_in(&app, SESSION, "ann", PASSWORD).await.ok();
    let session = session["meta"]["session_token"].as_str().unwrap();
    let end = || app.ask("DELETE", END).header("x-session-token", session);
    end().send().await.ok();
    let told = given(&app, &root, "bye").await;
    assert_eq!(
        (&told["user"]["username"], &told["kind"]),
        (&json!("ann"), &json!("session"))
    );
    let run = &runs(&app, &root, "bye").await[0];
    assert_eq!(run["request"]["credential_kind"], "session", "{run}");
    assert_eq!(run["user_username"], "ann", "{run}");
    end().send().await.is_error(401, "UNAUTHORIZED");
    ended(&app, &root, "bye", 1).await;
}

#[tokio::test]
async fn the_end_of_a_refresh_token_is_told_once_for_its_sign_in() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    agrees(&app, &root, "POST_LOGOUT", "bye").await;
    let pair = sign_in(&app, TOKEN, "ann", PASSWORD).await.ok();
    let next = app.post(REFRESH, &json!({"refresh": pair["refresh"]}));
    let next = next.send().await.ok();
    // Any token of the sign-in ends it, also one that was exchanged.
    assert_eq!(blacklist(&app, &pair["refresh"]).await, 200);
    let told = given(&app, &root, "bye").await;
    assert_eq!(
        (&told["user"]["username"], &told["kind"]),
        (&json!("ann"), &json!("tokens"))
    );
    // It has ended: ending it again changes nothing, and tells nobody.
    for token in [&pair, &next] {
        assert_eq!(blacklist(&app, &token["refresh"]).await, 200);
    }
    ended(&app, &root, "bye", 1).await;
    let access = next["access"].as_str().unwrap();
    let me = app.get("/api/users/me/").bearer(access).send().await;
    me.is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn whoever_signs_out_many_times_at_once_is_told_of_once() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    agrees(&app, &root, "POST_LOGOUT", "bye").await;
    let pair = sign_in(&app, TOKEN, "ann", PASSWORD).await.ok();
    let ends = (0..8).map(|_| blacklist(&app, &pair["refresh"]));
    let ended_with = futures_util::future::join_all(ends).await;
    assert_eq!(ended_with, [200; 8]);
    ended(&app, &root, "bye", 1).await;
}

/// Every event around accounts runs a function; then all that is on disk is searched.
#[tokio::test]
async fn no_password_and_no_token_is_on_disk() {
    let (app, root) = world().await;
    for event in [
        "PRE_USER_CREATE",
        "POST_USER_CREATE",
        "PRE_USER_UPDATE",
        "POST_USER_UPDATE",
        "PRE_LOGIN",
        "POST_LOGIN",
        "POST_LOGIN_FAILED",
        "POST_LOGOUT",
        "PRE_PASSWORD_CHANGE",
        "POST_PASSWORD_CHANGE",
    ] {
        let slug = event.to_lowercase().replace('_', "-");
        agrees(&app, &root, event, &slug).await;
    }
    let (first, second, wrong) = ("first horse 4711", "second horse 4712", "wrong horse 4713");
    let body = json!({"username": "ann", "email": "ann@example.com", "password": first});
    app.post("/api/users/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    sign_in(&app, TOKEN, "ann", wrong).await;
    // Typed into the wrong field.
    sign_in(&app, TOKEN, wrong, wrong).await;
    let pair = sign_in(&app, TOKEN, "ann", first).await.ok();
    let access = pair["access"].as_str().unwrap();
    let change = json!({"password": second, "current_password": first});
    let change = app.ask("PATCH", "/api/users/ann/").json(&change);
    change.bearer(access).send().await.ok();
    let session = sign_in(&app, SESSION, "ann", second).await.ok();
    let token = session["meta"]["session_token"].as_str().unwrap();
    let end = app.ask("DELETE", END).header("x-session-token", token);
    end.send().await.ok();
    let pair = sign_in(&app, TOKEN, "ann", second).await.ok();
    assert_eq!(blacklist(&app, &pair["refresh"]).await, 200);
    for (slug, count) in [
        ("post-user-create", 1),
        ("post-user-update", 1),
        ("post-login", 3),
        ("post-login-failed", 2),
        ("post-logout", 2),
        ("post-password-change", 1),
    ] {
        ended(&app, &root, slug, count).await;
    }
    let mut bytes = Vec::new();
    for file in app.files() {
        bytes.extend(std::fs::read(file).unwrap());
    }
    let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(holds("ann@example.com"), "the records are not there");
    for secret in [
        first,
        second,
        wrong,
        token,
        access,
        pair["access"].as_str().unwrap(),
        pair["refresh"].as_str().unwrap(),
        session["meta"]["access_token"].as_str().unwrap(),
    ] {
        assert!(!holds(secret), "{secret}");
    }
}
