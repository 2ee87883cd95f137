//! Changes of passwords: two stages of one operation, of which either may say no.

use super::login::{TOKEN, sign_in};
use super::{agrees, ended, given, on, refuses, runs, world};
use crate::app::{Answer, PASSWORD, TestApp};
use serde_json::{Value, json};
use tollgate_testkit::fake_runtime::Behaviour;

const NEW: &str = "another good horse";

async fn change(app: &TestApp, token: &str, body: &Value) -> Answer {
    let asking = app.ask("PATCH", "/api/users/ann/").json(body);
    asking.bearer(token).send().await
}

#[tokio::test]
async fn a_no_saves_nothing_of_the_update() {
    let (app, root) = world().await;
    let ann = app.user(&root, "ann", &[]).await;
    let named = Behaviour::Return(json!({"params": {"first_name": "Ann"}}));
    on(&app, &root, "PRE_USER_UPDATE", "check", named).await;
    refuses(&app, &root, "PRE_PASSWORD_CHANGE", "check-password").await;
    for (event, slug) in [
        ("POST_USER_UPDATE", "updated"),
        ("POST_PASSWORD_CHANGE", "changed"),
        ("POST_USER_UPDATE_DENIED", "update-denied"),
        ("POST_PASSWORD_CHANGE_DENIED", "change-denied"),
    ] {
        agrees(&app, &root, event, slug).await;
    }
    let body = json!({"password": NEW, "current_password": PASSWORD, "last_name": "Q"});
    let answer = change(&app, &ann, &body).await;
    let message = answer.is_error(400, "PRE_EVENT_DENIED");
    assert!(message.starts_with("PRE_PASSWORD_CHANGE"), "{message}");
    let user = app.get("/api/users/ann/").bearer(&root).send().await.ok();
    assert_eq!(
        (&user["data"]["last_name"], &user["data"]["first_name"]),
        (&json!(""), &json!(""))
    );
    sign_in(&app, TOKEN, "ann", PASSWORD).await.ok();
    let new = sign_in(&app, TOKEN, "ann", NEW).await;
    new.is_error(401, "UNAUTHORIZED");
    let told = given(&app, &root, "change-denied").await;
    assert_eq!(told["event"], "PRE_PASSWORD_CHANGE", "{told}");
    assert_eq!(told["params"]["by_owner"], true, "{told}");
    for slug in ["updated", "changed", "update-denied"] {
        assert!(runs(&app, &root, slug).await.is_empty(), "{slug}");
    }
    // The first stage had agreed; it changed nothing, and is on record with its verdict.
    let check = &ended(&app, &root, "check", 1).await[0];
    assert_eq!(check["verdict"]["kind"], "enriched", "{check}");
    assert_eq!(check["changes"], Value::Null, "{check}");
}

#[tokio::test]
async fn both_stages_agree_and_both_events_follow() {
    let (app, root) = world().await;
    let ann = app.user(&root, "ann", &[]).await;
    for event in [
        "PRE_USER_UPDATE",
        "POST_USER_UPDATE",
        "PRE_PASSWORD_CHANGE",
        "POST_PASSWORD_CHANGE",
    ] {
        let slug = event.to_lowercase().replace('_', "-");
        agrees(&app, &root, event, &slug).await;
    }
    let body = json!({"password": NEW, "current_password": PASSWORD, "last_name": "Q"});
    change(&app, &ann, &body).await.ok();
    sign_in(&app, TOKEN, "ann", NEW).await.ok();
    let before = given(&app, &root, "pre-password-change").await;
    let after = given(&app, &root, "post-password-change").await;
    assert_eq!(
        (&before["by_owner"], &before["user"]["last_name"]),
        (&json!(true), &json!(""))
    );
    assert_eq!(
        (&after["by_owner"], &after["user"]["last_name"]),
        (&json!(true), &json!("Q"))
    );
    let updated = given(&app, &root, "post-user-update").await;
    assert_eq!(updated["last_name"], "Q", "{updated}");
    given(&app, &root, "pre-user-update").await;
    for told in [&before, &after, &updated] {
        let text = told.to_string();
        assert!(!text.contains(NEW) && !text.contains(PASSWORD), "{text}");
    }
    // Somebody else's hand.
    let body = json!({"password": "a third good horse"});
    change(&app, &root, &body).await.ok();
    let runs = ended(&app, &root, "post-password-change", 2).await;
    let told = &runs[1]["task_result"]["task_args"];
    assert_eq!(told["by_owner"], false, "{told}");
}

#[tokio::test]
async fn nobody_is_asked_where_no_password_changes() {
    let (app, root) = world().await;
    let ann = app.user(&root, "ann", &[]).await;
    refuses(&app, &root, "PRE_PASSWORD_CHANGE", "check").await;
    change(&app, &root, &json!({"last_name": "Q"})).await.ok();
    let wrong = json!({"password": NEW, "current_password": "wrong horse"});
    let answer = change(&app, &ann, &wrong).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let short = json!({"password": "x", "current_password": PASSWORD});
    let answer = change(&app, &ann, &short).await;
    answer.is_error(400, "VALIDATION_ERROR");
    // Nor where the first stage has refused.
    refuses(&app, &root, "PRE_USER_UPDATE", "first").await;
    let body = json!({"password": NEW, "current_password": PASSWORD});
    let answer = change(&app, &ann, &body).await;
    let message = answer.is_error(400, "PRE_EVENT_DENIED");
    assert!(message.starts_with("PRE_USER_UPDATE"), "{message}");
    assert!(runs(&app, &root, "check").await.is_empty());
}
