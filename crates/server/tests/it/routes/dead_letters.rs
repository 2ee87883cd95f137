//! `/api/dead-letters/…`

use crate::app::{OTHER_HOST, TestApp};
use crate::snapshots::assert_answer;
use serde_json::{Value, json};

const LIST: &str = "/api/dead-letters/";

fn path(id: i64) -> String {
    format!("{LIST}{id}/")
}

/// An app with the function `broken`; the superuser's token.
async fn broken(app: &TestApp) -> String {
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Broken").await;
    root
}

async fn redrive_many(app: &TestApp, token: &str, body: &Value) -> Value {
    let path = format!("{LIST}redrive/");
    let answer = app.post(&path, body).bearer(token).send().await;
    answer.ok()["data"].clone()
}

/// Waits until a redriven run has died again.
async fn dead_again(app: &TestApp, root: &str, id: i64) {
    let mut changes = app.platform.invocations.watch();
    while app.get(&path(id)).bearer(root).send().await.status == 404 {
        changes.recv().await.unwrap();
    }
}

#[tokio::test]
async fn one_is_answered_bare_and_only_while_it_is_dead() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    let id = app
        .dead_letter(&root, "broken", &json!({"username": "ann"}))
        .await;
    assert_answer!(app.get(&path(id)).bearer(&root).send().await);
    let body = json!({"params": {}});
    let execute = "/api/apps/user-management/functions/broken/execute/";
    let failed = app.post(execute, &body).bearer(&root).send().await;
    let failed = failed.body["data"]["invocation"]["id"].as_i64().unwrap();
    let not_found = app.get(&path(failed)).bearer(&root).send().await;
    let missing = app.get(&path(999_999)).bearer(&root).send().await;
    assert_eq!(
        not_found.is_error(404, "NOT_FOUND"),
        "Dead letter not found"
    );
    assert_eq!(not_found.body, missing.body);
    for method in ["POST", "DELETE"] {
        let path = match method {
            "POST" => format!("{}redrive/", path(failed)),
            _ => path(failed),
        };
        let answer = app.ask(method, &path).bearer(&root).send().await;
        answer.is_error(409, "CONFLICT");
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    for _ in 0..2 {
        app.dead_letter(&root, "broken", &json!({})).await;
    }
    assert_answer!(app.get(LIST).bearer(&root).send().await);
    for (query, total) in [
        ("function_slug=broken", 2),
        ("function_slug=nope", 0),
        ("kind=exception", 2),
        ("kind=timeout", 0),
        ("app=user-management", 2),
        ("app=nope", 0),
        ("event=POST_USER_CREATE", 0),
        ("page_size=1", 2),
    ] {
        let path = format!("{LIST}?{query}");
        let list = app.get(&path).bearer(&root).send().await.ok();
        assert_eq!(list["total"], total, "{query}");
    }
    for query in ["kind=odd", "event=odd", "page=0"] {
        let path = format!("{LIST}?{query}");
        let answer = app.get(&path).bearer(&root).send().await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_redrive_answers_the_run_that_waits() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    let id = app.dead_letter(&root, "broken", &json!({})).await;
    let redrive = format!("{}redrive/", path(id));
    let bad = app.post(&redrive, &json!({"version": "newest"}));
    bad.bearer(&root)
        .send()
        .await
        .is_error(400, "VALIDATION_ERROR");
    let answer = app.post(&redrive, &json!({"version": "own"}));
    let answer = answer.bearer(&root).send().await.ok();
    assert_eq!(answer["message"], "Dead letter redriven successfully");
    assert_eq!(answer["data"]["id"], id);
    dead_again(&app, &root, id).await;
    // Without a body: the active version.
    app.ask("POST", &redrive).bearer(&root).send().await.ok();
    dead_again(&app, &root, id).await;
}

#[tokio::test]
async fn many_are_redriven_by_filter() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(app.dead_letter(&root, "broken", &json!({})).await);
    }
    let path = format!("{LIST}redrive/");
    for (body, field) in [
        (json!({}), "all"),
        (json!({"all": false}), "all"),
        (json!({"all": true, "limit": 0}), "limit"),
        (json!({"kind": "odd"}), "kind"),
    ] {
        let answer = app.post(&path, &body).bearer(&root).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    let none = redrive_many(&app, &root, &json!({"kind": "timeout"})).await;
    assert_eq!(none, json!({"redriven": 0, "skipped": 0, "more": false}));
    let one = json!({"function_slug": "broken", "limit": 1});
    let one = redrive_many(&app, &root, &one).await;
    assert_eq!(one, json!({"redriven": 1, "skipped": 0, "more": true}));
    dead_again(&app, &root, ids[0]).await;
    let off = json!({"is_active": false});
    let function = "/api/apps/user-management/functions/broken/";
    let off = app.ask("PATCH", function).json(&off).bearer(&root);
    off.send().await.ok();
    let skipped = redrive_many(&app, &root, &json!({"all": true})).await;
    assert_eq!(skipped, json!({"redriven": 0, "skipped": 3, "more": false}));
    let redrive = format!("{LIST}{}/redrive/", ids[0]);
    let answer = app.ask("POST", &redrive).bearer(&root).send().await;
    answer.is_error(400, "BAD_REQUEST");
    app.ask("DELETE", function).bearer(&root).send().await.ok();
    assert_answer!(app.ask("POST", &redrive).bearer(&root).send().await);
}

#[tokio::test]
async fn a_discarded_letter_is_failed_history() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    let id = app.dead_letter(&root, "broken", &json!({})).await;
    assert_answer!(app.ask("DELETE", &path(id)).bearer(&root).send().await);
    let again = app.ask("DELETE", &path(id)).bearer(&root).send().await;
    again.is_error(409, "CONFLICT");
    let record = app.get(&format!("/api/invocations/{id}/"));
    let record = record.bearer(&root).send().await.ok();
    assert_eq!(record["state"], "failed");
    assert_eq!(record["error"]["message"], "it broke");
}

/// Roles count in their own app, sites for themselves.
#[tokio::test]
async fn what_one_may_not_touch_stays_dead() {
    let app = TestApp::new().await;
    let root = broken(&app).await;
    let id = app.dead_letter(&root, "broken", &json!({})).await;
    let elsewhere = json!({"name": "Elsewhere"});
    let elsewhere = app.post("/api/apps/", &elsewhere).bearer(&root);
    elsewhere.send().await.ok();
    let foreign = app.user(&root, "foreign", &["elsewhere:admin"]).await;
    let viewer = app.user(&root, "viewer", &["user-management:viewer"]).await;
    let stranger = app.other_site().await;
    let redrive = format!("{}redrive/", path(id));
    for (who, host, status) in [
        (&foreign, crate::app::HOST, 404),
        (&viewer, crate::app::HOST, 403),
        (&stranger, OTHER_HOST, 404),
    ] {
        for (method, path) in [("POST", &redrive), ("DELETE", &path(id))] {
            let answer = app.ask(method, path).host(host).bearer(who).send().await;
            assert_eq!(answer.status, status, "{method}: {}", answer.body);
        }
    }
    let all = json!({"all": true});
    let none = redrive_many(&app, &foreign, &all).await;
    assert_eq!(none, json!({"redriven": 0, "skipped": 0, "more": false}));
    let many = app.post(&format!("{LIST}redrive/"), &all);
    let none = many.host(OTHER_HOST).bearer(&stranger).send().await.ok();
    assert_eq!(none["data"]["redriven"], 0);
    let list = app.get(LIST).bearer(&foreign).send().await.ok();
    assert_eq!(list["total"], 0);
    let list = app.get(LIST).bearer(&viewer).send().await.ok();
    assert_eq!(list["total"], 1);
}
