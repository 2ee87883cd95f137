//! Sign-ins: a no gives no token, a wrong password asks nobody, claims stand in tokens, secrets in no record.

use super::{agrees, given, on, refuses, runs, world};
use crate::app::{Answer, JWT_KEY, PASSWORD, TestApp};
use serde_json::{Value, json};
use tollgate_core::limits;
use tollgate_testkit::fake_runtime::Behaviour;

pub(super) const TOKEN: &str = "/api/cloud/auth/jwt/token/";
pub(super) const REFRESH: &str = "/api/cloud/auth/jwt/token/refresh/";
pub(super) const SESSION: &str = "/_allauth/app/v1/auth/login";

pub(super) async fn sign_in(app: &TestApp, path: &str, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    app.post(path, &body).send().await
}

/// What stands in a token that this server has signed.
fn payload(token: &Value) -> Value {
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    // The test's clock is not the machine's.
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = jsonwebtoken::DecodingKey::from_secret(&JWT_KEY);
    let token = token.as_str().unwrap();
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation);
    decoded.unwrap().claims
}

#[tokio::test]
async fn a_no_gives_no_token() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    let path = "/api/users/ann/";
    let before = app.get(path).bearer(&root).send().await.ok();
    let no = json!({"success": false, "error": "list 7", "user_message": {"de": "Gesperrt", "en": "Locked"}});
    on(&app, &root, "PRE_LOGIN", "check", Behaviour::Return(no)).await;
    agrees(&app, &root, "POST_LOGIN", "done").await;
    agrees(&app, &root, "POST_LOGIN_FAILED", "failed").await;
    agrees(&app, &root, "POST_LOGIN_DENIED", "told").await;
    for (count, path) in [TOKEN, SESSION].into_iter().enumerate() {
        let body = json!({"username": "ann", "password": PASSWORD});
        let asking = app.post(path, &body).header("accept-language", "de");
        let answer = asking.send().await;
        answer.is_error(400, "PRE_EVENT_DENIED");
        assert_eq!(answer.body["user_message"], "Gesperrt");
        for key in ["access", "refresh", "meta", "data"] {
            assert_eq!(answer.body.get(key), None, "{path}: {}", answer.body);
        }
        assert!(!answer.bytes().contains("list 7"), "{}", answer.bytes());
        let told = super::ended(&app, &root, "told", count + 1).await;
        let told = &told[count]["task_result"]["task_args"];
        assert_eq!(told["params"]["user"]["username"], "ann", "{told}");
        assert_eq!(told["refused_by"]["message"], "list 7", "{told}");
    }
    for slug in ["done", "failed"] {
        assert!(runs(&app, &root, slug).await.is_empty(), "{slug}");
    }
    let after = app.get(path).bearer(&root).send().await.ok();
    assert_eq!(after, before, "last_login and all");
}

#[tokio::test]
async fn a_wrong_password_asks_nobody_and_is_told() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    let id = app.get("/api/users/ann/").bearer(&root).send().await.ok()["data"]["id"].clone();
    agrees(&app, &root, "PRE_LOGIN", "check").await;
    agrees(&app, &root, "POST_LOGIN_FAILED", "failed").await;
    agrees(&app, &root, "POST_LOGIN_DENIED", "told").await;
    let mut answers = Vec::new();
    for (path, name) in [(TOKEN, "ann"), (SESSION, "nobody@example.com")] {
        let answer = sign_in(&app, path, name, "wrong horse").await;
        answer.is_error(401, "UNAUTHORIZED");
        answers.push(answer.body);
    }
    assert_eq!(answers[0], answers[1]);
    let failed = super::ended(&app, &root, "failed", 2).await;
    let told = |run: usize| failed[run]["task_result"]["task_args"].clone();
    assert_eq!(
        (&told(0)["user"]["id"], &told(0)["kind"]),
        (&id, &json!("tokens"))
    );
    // What was typed is not told: people type passwords there.
    assert_eq!(told(1), json!({"user": null, "kind": "session"}));
    for run in &failed {
        assert_eq!(run["user_id"], Value::Null, "{run}");
        assert_eq!(run["request"]["credential_kind"], Value::Null, "{run}");
        assert_eq!(run["request"]["host"], "localhost", "{run}");
    }
    for slug in ["check", "told"] {
        assert!(runs(&app, &root, slug).await.is_empty(), "{slug}");
    }
}

#[tokio::test]
async fn claims_stand_in_every_access_token_of_the_sign_in() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    for (slug, attributes) in [
        ("first", json!({"plan": "gold", "n": 1})),
        ("second", json!({"n": 2})),
    ] {
        let claims = json!({"params": {"claims": {"attributes": attributes}}});
        on(&app, &root, "PRE_LOGIN", slug, Behaviour::Return(claims)).await;
    }
    agrees(&app, &root, "POST_LOGIN", "done").await;
    let expected = json!({"attributes": {"plan": "gold", "n": 2}});
    let pair = sign_in(&app, TOKEN, "ann", PASSWORD).await.ok();
    let session = sign_in(&app, SESSION, "ann", PASSWORD).await.ok();
    let next = app.post(REFRESH, &json!({"refresh": pair["refresh"]}));
    let next = next.send().await.ok();
    // The same pair again, as for a client whose answer was lost.
    let again = app.post(REFRESH, &json!({"refresh": pair["refresh"]}));
    assert_eq!(again.send().await.ok(), next);
    let last = app.post(REFRESH, &json!({"refresh": next["refresh"]}));
    let last = last.send().await.ok();
    for access in [
        &pair["access"],
        &session["meta"]["access_token"],
        &next["access"],
        &last["access"],
    ] {
        let payload = payload(access);
        assert_eq!(payload["claims"], expected, "{payload}");
        assert_eq!(payload["typ"], "access", "{payload}");
        let me = app.get("/api/users/me/").bearer(access.as_str().unwrap());
        assert_eq!(me.send().await.ok()["data"]["username"], "ann");
    }
    let done = super::ended(&app, &root, "done", 2).await;
    for (run, kind) in done.iter().zip(["tokens", "session"]) {
        let told = &run["task_result"]["task_args"];
        assert_eq!(told["claims"], expected, "{told}");
        assert_eq!(told["kind"], kind, "{told}");
        assert_eq!(told["user"]["username"], "ann", "{told}");
        assert!(told["user"]["last_login"].is_string(), "{told}");
        assert_eq!(run["user_username"], "ann", "{run}");
    }
    // Without claims there is no such member.
    let root = payload(&json!(root));
    assert_eq!(root.get("claims"), None, "{root}");
}

#[tokio::test]
async fn claims_that_cannot_be_given_break_the_sign_in() {
    let vast = "x".repeat(limits::CLAIMS_BYTES);
    for params in [
        json!({"claims": {"attributes": {"x": vast}}}),
        json!({"claims": {"sub": "1"}}),
        json!({"claims": {"attributes": {}, "admin": true}}),
        json!({"claims": {"attributes": "gold"}}),
        json!({"claims": "gold"}),
        json!({"user": {"is_superuser": true}}),
        json!({"kind": "session"}),
    ] {
        let (app, root) = world().await;
        let does = Behaviour::Return(json!({"params": params}));
        on(&app, &root, "PRE_LOGIN", "check", does).await;
        agrees(&app, &root, "POST_LOGIN_DENIED", "told").await;
        let answer = sign_in(&app, TOKEN, "root", PASSWORD).await;
        answer.is_error(400, "PRE_EVENT_FAILED");
        let by = &answer.body["errors"][0];
        assert_eq!(by["kind"], "enrichment", "{}", answer.body);
        assert_eq!(answer.body.get("access"), None);
        let told = given(&app, &root, "told").await;
        assert_eq!(told["refused_by"]["kind"], "enrichment", "{told}");
    }
}

#[tokio::test]
async fn claims_of_nearly_the_bound_fit_into_both_tokens() {
    let (app, root) = world().await;
    let text = "x".repeat(limits::CLAIMS_BYTES - 20);
    let claims = json!({"params": {"claims": {"attributes": {"x": text}}}});
    on(&app, &root, "PRE_LOGIN", "check", Behaviour::Return(claims)).await;
    let pair = sign_in(&app, TOKEN, "root", PASSWORD).await.ok();
    let access = pair["access"].as_str().unwrap();
    app.get("/api/users/me/").bearer(access).send().await.ok();
    let next = app.post(REFRESH, &json!({"refresh": pair["refresh"]}));
    let next = next.send().await.ok();
    assert_eq!(payload(&next["access"])["claims"]["attributes"]["x"], text);
}

#[tokio::test]
async fn all_parameters_can_be_returned() {
    let (app, root) = world().await;
    let id = app.function(&root, "Return All").await;
    app.subscribe(&root, "PRE_LOGIN", id).await;
    sign_in(&app, TOKEN, "root", PASSWORD).await.ok();
    // A key of the API is no sign-in.
    refuses(&app, &root, "PRE_LOGIN", "check").await;
    let keys = "/api/cloud/auth/api-keys/";
    let key = app.post(keys, &json!({"name": "k"})).bearer(&root);
    let key = key.send().await.ok()["data"]["key"].clone();
    let me = app.get("/api/users/me/");
    let key = format!("Api-Key {}", key.as_str().unwrap());
    me.header("authorization", &key).send().await.ok();
}
