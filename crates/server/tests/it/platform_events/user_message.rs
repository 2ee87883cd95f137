//! What people read of a refusal, and who reads the function's own reason.

use super::{create, on, world};
use crate::app::{Answer, TestApp};
use serde_json::{Value, json};
use tollgate_testkit::fake_runtime::Behaviour;

/// Stands in the reason only.
const SECRET: &str = "rule 4711";

/// A function that refuses every change of a user with these words for people.
async fn app_saying(words: Value) -> (TestApp, String, String) {
    let (app, root) = world().await;
    let ann = app.user(&root, "ann", &[]).await;
    let mut no = json!({"success": false, "error": format!("matched {SECRET}")});
    if !words.is_null() {
        no["user_message"] = words;
    }
    let no = Behaviour::Return(no);
    on(&app, &root, "PRE_USER_UPDATE", "check", no).await;
    (app, root, ann)
}

async fn refused(app: &TestApp, ann: &str, languages: &str) -> Answer {
    let me = app.ask("PATCH", "/api/users/ann/");
    let me = me.json(&json!({"last_name": "Q"})).bearer(ann);
    let me = match languages {
        "" => me,
        languages => me.header("accept-language", languages),
    };
    me.send().await
}

#[track_caller]
fn says(answer: &Answer, expected: &str) {
    let message = answer.is_error(400, "PRE_EVENT_DENIED");
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(answer.body["user_message"], expected);
    let by = &answer.body["errors"][0];
    assert_eq!(by["user_message"], expected, "{by}");
    assert_eq!(by["message"], expected, "{by}");
    assert!(!answer.bytes().contains(SECRET), "{}", answer.bytes());
}

#[tokio::test]
async fn a_text_is_told_instead_of_the_reason() {
    let (app, _, ann) = app_saying(json!("Please ask your manager")).await;
    says(&refused(&app, &ann, "").await, "Please ask your manager");
    let answer = refused(&app, &ann, "de").await;
    says(&answer, "Please ask your manager");
}

#[tokio::test]
async fn texts_are_told_in_the_language_that_is_asked_for() {
    let words = json!({"de": "Bitte nicht", "en": "Please don't", "pt-BR": "Não"});
    let (app, _, ann) = app_saying(words).await;
    for (languages, expected) in [
        ("de-AT,de;q=0.9,en;q=0.5", "Bitte nicht"),
        ("fr;q=0.9, de;q=0.8, en;q=0.1", "Bitte nicht"),
        ("PT-br", "Não"),
        ("ja", "Please don't"),
        ("", "Please don't"),
        (";;q=,,", "Please don't"),
    ] {
        says(&refused(&app, &ann, languages).await, expected);
    }
}

#[tokio::test]
async fn what_is_no_text_is_told_as_it_stands() {
    for (words, expected) in [
        (json!(7), "7"),
        (json!(["a", 1]), "[\"a\",1]"),
        (json!({"de": 1, "en": "No"}), "No"),
    ] {
        let (app, _, ann) = app_saying(words).await;
        says(&refused(&app, &ann, "de").await, expected);
    }
}

#[tokio::test]
async fn without_words_for_people_the_reason_is_told() {
    let (app, _, ann) = app_saying(json!(null)).await;
    let answer = refused(&app, &ann, "de").await;
    let message = answer.is_error(400, "PRE_EVENT_DENIED");
    assert!(message.contains(SECRET), "{message}");
    assert_eq!(answer.body.get("user_message"), None);
    assert_eq!(answer.body["errors"][0].get("user_message"), None);
}

/// They were meant, and cannot be shown.
#[tokio::test]
async fn words_that_say_nothing_hide_the_reason_all_the_same() {
    for words in [json!(""), json!({}), json!({"de": 1})] {
        let (app, _, ann) = app_saying(words.clone()).await;
        let answer = refused(&app, &ann, "de").await;
        assert!(!answer.bytes().contains(SECRET), "{words}: {}", answer.body);
        says(&answer, "The operation was refused");
    }
}

#[tokio::test]
async fn the_reason_is_on_the_record_for_readers_only() {
    let (app, root, ann) = app_saying(json!({"de": "Nein", "en": "No"})).await;
    let answer = refused(&app, &ann, "de").await;
    says(&answer, "Nein");
    let by = &answer.body["errors"][0];
    let task = by["task_id"].as_str().unwrap();
    let one = format!("/api/invocations/{}/", by["invocation_id"]);
    for path in [
        one.clone(),
        "/api/invocations/".to_owned(),
        format!("/api/result/{task}/"),
    ] {
        let seen = app.get(&path).bearer(&ann).send().await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        assert!(!seen.bytes().contains(SECRET), "{path}: {}", seen.bytes());
        let whole = app.get(&path).bearer(&root).send().await;
        assert!(whole.bytes().contains(SECRET), "{path}: {}", whole.body);
    }
    let seen = app.get(&one).bearer(&ann).send().await.ok();
    assert_eq!(seen["verdict"]["kind"], "denied", "{seen}");
    let said = json!({"success": false, "user_message": {"de": "Nein", "en": "No"}});
    assert_eq!(seen["task_result"]["result"], said, "{seen}");
    // With the right to read runs, also one's own.
    let role = json!({"roles": ["user-management:viewer"], "usernames": ["ann"]});
    let assign = app.post("/api/assign/roles/", &role).bearer(&root);
    assign.send().await.ok();
    let seen = app.get(&one).bearer(&ann).send().await;
    assert!(seen.bytes().contains(SECRET), "{}", seen.body);
}

#[tokio::test]
async fn who_caused_a_run_sees_the_reason_where_it_was_told() {
    let (app, root, ann) = app_saying(Value::Null).await;
    let answer = refused(&app, &ann, "").await;
    let id = &answer.body["errors"][0]["invocation_id"];
    let path = format!("/api/invocations/{id}/");
    let seen = app.get(&path).bearer(&ann).send().await;
    assert!(seen.bytes().contains(SECRET), "{}", seen.body);
    // Nobody else sees the run at all.
    let bob = app.user(&root, "bob", &[]).await;
    let seen = app.get(&path).bearer(&bob).send().await;
    seen.is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_function_that_is_refused_is_told_no_more() {
    let (app, root) = world().await;
    let no = json!({"success": false, "error": SECRET, "user_message": "No"});
    let no = Behaviour::Return(no);
    on(&app, &root, "PRE_USER_CREATE", "check", no).await;
    app.function(&root, "Copy").await;
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "copy", &rights).await.ok();
    let path = "/api/apps/user-management/functions/copy/execute/";
    let body = json!({"params": {"username": "ann"}});
    let answer = app.post(path, &body).bearer(&root).send().await;
    let message = answer.is_error(400, "FUNCTION_FAILED");
    assert!(message.ends_with("No"), "{message}");
    assert!(!answer.bytes().contains(SECRET), "{}", answer.bytes());
    let refused = create(&app, &root, "bob").await;
    assert_eq!(refused.body["user_message"], "No");
}
