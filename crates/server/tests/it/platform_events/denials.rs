//! `POST_<X>_DENIED`: once for each refusal, in the end of the same request, and only then.

use super::{agrees, create, ended, given, on, refuses, runs, world};
use serde_json::{Value, json};
use tollgate_core::tasks::FailureKind;
use tollgate_testkit::fake_runtime::Behaviour;

const DENIED: &str = "POST_USER_CREATE_DENIED";

#[tokio::test]
async fn a_refusal_is_told_once_whatever_the_reason() {
    let no = json!({"success": false, "error": "not today", "user_message": "Come again"});
    let unsavable = json!({"params": {"email": "no address"}});
    for (kind, does, part) in [
        ("denied", Behaviour::Return(no), "not today"),
        (
            "crashed",
            Behaviour::Fail(FailureKind::Crashed),
            "it was told to",
        ),
        ("enrichment", Behaviour::Return(unsavable), "'email'"),
    ] {
        let (app, root) = world().await;
        let id = on(&app, &root, "PRE_USER_CREATE", "check", does).await;
        agrees(&app, &root, DENIED, "told").await;
        agrees(&app, &root, "POST_USER_CREATE", "created").await;
        let answer = create(&app, &root, "ann").await;
        assert_eq!(answer.status, 400, "{kind}: {}", answer.body);
        let by = &answer.body["errors"][0];
        let told = given(&app, &root, "told").await;
        assert_eq!(told["event"], "PRE_USER_CREATE", "{told}");
        assert_eq!(told["params"]["username"], "ann", "{told}");
        let refused = &told["refused_by"];
        assert_eq!(refused["kind"], kind, "{told}");
        assert_eq!(refused["function_id"], id, "{told}");
        assert_eq!(refused["function_slug"], "check", "{told}");
        for key in ["invocation_id", "task_id", "function_name", "kind"] {
            assert_eq!(refused[key], by[key], "{key}: {told}");
        }
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(part), "{told}");
        let said = match kind {
            "denied" => json!("Come again"),
            _ => Value::Null,
        };
        assert_eq!(refused["user_message"], said, "{told}");
        // It tells of the event that was refused, and is one itself, of the same request.
        let (check, run) = (
            &runs(&app, &root, "check").await[0],
            &runs(&app, &root, "told").await[0],
        );
        assert_eq!(told["event_id"], check["event_id"]);
        assert_ne!(run["event_id"], check["event_id"]);
        assert_eq!(run["event"], DENIED);
        assert_eq!(run["request"], check["request"]);
        assert_eq!(run["user_username"], "root");
        assert!(runs(&app, &root, "created").await.is_empty());
        let found = app.get("/api/users/ann/").bearer(&root).send().await;
        found.is_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn of_two_who_refuse_one_is_told() {
    let (app, root) = world().await;
    refuses(&app, &root, "PRE_USER_CREATE", "one").await;
    refuses(&app, &root, "PRE_USER_CREATE", "two").await;
    agrees(&app, &root, DENIED, "told").await;
    let answer = create(&app, &root, "ann").await;
    answer.is_error(400, "PRE_EVENT_DENIED");
    let told = given(&app, &root, "told").await;
    let by = &answer.body["errors"][0]["function_slug"];
    assert_eq!(&told["refused_by"]["function_slug"], by);
}

#[tokio::test]
async fn an_agreement_and_a_refusal_that_nobody_listens_to_cause_none() {
    let (app, root) = world().await;
    agrees(&app, &root, "PRE_USER_CREATE", "check").await;
    agrees(&app, &root, DENIED, "told").await;
    create(&app, &root, "ann").await.ok();
    // The name is taken: no function is asked, so none refuses.
    let taken = create(&app, &root, "ann").await;
    taken.is_error(409, "CONFLICT");
    assert!(runs(&app, &root, "told").await.is_empty());
    let (app, root) = world().await;
    refuses(&app, &root, "PRE_USER_CREATE", "check").await;
    let answer = create(&app, &root, "ann").await;
    answer.is_error(400, "PRE_EVENT_DENIED");
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    assert_eq!(list["total"], 1, "{list}");
}

#[tokio::test]
async fn changes_and_deletions_have_theirs() {
    let (app, root) = world().await;
    create(&app, &root, "ann").await.ok();
    for event in ["USER_UPDATE", "USER_DELETE"] {
        let slug = event.to_lowercase().replace('_', "-");
        refuses(&app, &root, &format!("PRE_{event}"), &slug).await;
        let told = format!("{slug}-told");
        agrees(&app, &root, &format!("POST_{event}_DENIED"), &told).await;
    }
    let ann = "/api/users/ann/";
    let update = app.ask("PATCH", ann).json(&json!({"last_name": "Q"}));
    let update = update.bearer(&root).send().await;
    update.is_error(400, "PRE_EVENT_DENIED");
    let delete = app.ask("DELETE", ann).bearer(&root).send().await;
    delete.is_error(400, "PRE_EVENT_DENIED");
    let told = given(&app, &root, "user-update-told").await;
    assert_eq!(told["params"]["last_name"], "Q", "{told}");
    assert_eq!(told["params"]["previous"]["last_name"], "", "{told}");
    let told = given(&app, &root, "user-delete-told").await;
    assert_eq!(told["params"]["is_deleted"], false, "{told}");
}

#[tokio::test]
async fn a_filter_can_ask_who_refused() {
    let (app, root) = world().await;
    refuses(&app, &root, "PRE_USER_CREATE", "check").await;
    for (slug, filter) in [
        (
            "of-check",
            "event.params.refused_by.function_slug == 'check'",
        ),
        ("of-ann", "event.params.params.username == 'ann'"),
        ("of-crashes", "event.params.refused_by.kind != 'denied'"),
    ] {
        let id = agrees(&app, &root, DENIED, slug).await;
        let body = json!({"function_id": id, "filter": filter});
        let path = format!("/api/cloud/events/{DENIED}/subscribe/");
        let asking = app.ask("PATCH", &path).json(&body).bearer(&root);
        asking.send().await.ok();
    }
    let answer = create(&app, &root, "ann").await;
    answer.is_error(400, "PRE_EVENT_DENIED");
    ended(&app, &root, "of-check", 1).await;
    ended(&app, &root, "of-ann", 1).await;
    assert!(runs(&app, &root, "of-crashes").await.is_empty());
}
