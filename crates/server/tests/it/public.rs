//! What strangers are told, and what owners of a run are told who may not read invocations.

use crate::app::{Answer, TestApp};
use serde_json::{Value, json};

const PUBLIC: &str = "/api/public/apps/user-management/functions/";

async fn app_with(names: &[&str]) -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in names {
        app.function(&root, name).await;
    }
    (app, root)
}

fn keys(answer: &Answer) -> Vec<&str> {
    let fields = answer.body.as_object().unwrap();
    fields.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_public_answer_has_data_or_code_message_and_task() {
    let (app, root) = app_with(&["Validate User Data", "Broken", "Deny"]).await;
    for slug in ["validate-user-data", "broken", "deny"] {
        app.change(&root, slug, &json!({"is_public": true}))
            .await
            .ok();
    }
    let call = async |slug: &str, body: Value| {
        let path = format!("{PUBLIC}{slug}/execute/");
        app.post(&path, &body).send().await
    };
    let params = json!({"username": "ann", "password": "hunter22"});
    let done = call("validate-user-data", json!({"params": params})).await;
    assert_eq!(keys(&done), ["data", "message", "status", "success"]);
    assert_eq!(done.body["data"], json!({"checked": "ann"}));

    let queued = call(
        "validate-user-data",
        json!({"params": params, "async": true}),
    )
    .await;
    assert_eq!(queued.status, 202);
    assert_eq!(
        keys(&queued),
        ["data", "message", "status", "success", "task_id"]
    );
    assert_eq!(queued.body["data"], json!([]));

    // What a function says when it raises is for those who mend it.
    let failed = call("broken", json!({"params": params})).await;
    failed.is_error(400, "FUNCTION_FAILED");
    assert_eq!(
        keys(&failed),
        ["code", "message", "status", "success", "task_id"]
    );
    assert_eq!(failed.body["message"], "The function failed");
    let task = failed.body["task_id"].as_str().unwrap();
    let path = format!("/api/result/{task}/");
    let record = app.get(&path).bearer(&root).send().await.ok();
    assert_eq!(record["data"]["traceback"], "it broke");

    // A no that it returns is its answer.
    let denied = call("deny", json!({})).await;
    assert_eq!(keys(&denied), ["data", "message", "status", "success"]);
    assert_eq!(denied.body["data"]["error"], "not this one");

    app.change(&root, "broken", &json!({"is_active": false}))
        .await
        .ok();
    for slug in ["broken", "nowhere"] {
        let absent = call(slug, json!({})).await;
        absent.is_error(404, "NOT_FOUND");
        assert_eq!(keys(&absent), ["code", "message", "status", "success"]);
    }
    let wrong = call("deny", json!({"params": 1})).await;
    wrong.is_error(400, "VALIDATION_ERROR");
}

/// Logs, traceback and worker are for `invocations.read`, on every way to a record.
#[tokio::test]
async fn an_owner_without_the_right_sees_no_inside_of_a_run() {
    let (app, root) = app_with(&["Validate User Data", "Broken"]).await;
    let path = |slug: &str| format!("/api/apps/user-management/functions/{slug}/execute/");
    let body = json!({"params": {"username": "x"}});
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    let ran = app.post(&path("validate-user-data"), &body).bearer(&dev);
    let ran = ran.send().await.ok();
    let failed = app.post(&path("broken"), &body).bearer(&dev).send().await;
    failed.is_error(400, "FUNCTION_FAILED");
    let ids = [
        ran["invocation"]["id"].clone(),
        failed.body["data"]["invocation"]["id"].clone(),
    ];
    // With the right everything is there; without it, only what is one's own.
    let look = async |whole: bool| {
        let mut records = Vec::new();
        for id in &ids {
            let path = format!("/api/invocations/{id}/");
            records.push(app.get(&path).bearer(&dev).send().await.ok());
        }
        let list = app.get("/api/invocations/").bearer(&dev).send().await.ok();
        records.extend(list["data"].as_array().unwrap().clone());
        for record in &records {
            let task = &record["task_result"];
            assert_eq!(task["worker"].is_string(), whole, "{record}");
            assert_eq!(task["task_args"], json!({"username": "x"}), "{record}");
            let logs = record["logs"].as_array().map_or(0, Vec::len);
            assert!(whole || logs == 0, "{record}");
            assert_eq!(record["holder"], json!(null), "{record}");
        }
        assert_eq!(
            records[0]["logs"].as_array().unwrap().len(),
            usize::from(whole)
        );
        assert_eq!(records[0]["task_result"]["result"], json!({"checked": "x"}));
        assert_eq!(records[1]["error"]["message"], "it broke");
    };
    look(true).await;
    let body = json!({"roles": ["user-management:developer"], "usernames": ["dev"]});
    let revoked = app.ask("DELETE", "/api/revoke/roles/").json(&body);
    revoked.bearer(&root).send().await.ok();
    look(false).await;
}

/// Filters are shown to those who may subscribe.
#[tokio::test]
async fn a_viewer_sees_no_filters() {
    let (app, root) = app_with(&["Validate User Data"]).await;
    let viewer = app.user(&root, "eve", &["user-management:viewer"]).await;
    let conditions = "event.params.username != 'hidden-name'";
    let body = json!({"filter_conditions": conditions});
    app.change(&root, "validate-user-data", &body).await.ok();
    let filter = "event.params.attributes.hidden_plan == 'x'";
    let body = json!({"function_id": 1, "filter": filter});
    let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    app.post(path, &body).bearer(&root).send().await.ok();
    let own = "/api/apps/user-management/";
    for (method, path) in [
        ("GET", format!("{own}functions/")),
        ("GET", format!("{own}functions/validate-user-data/")),
        ("GET", format!("{own}events/PRE_USER_CREATE/")),
        (
            "POST",
            "/api/cloud/events/PRE_USER_CREATE/explain/".to_owned(),
        ),
    ] {
        let ask = async |token: &str| {
            let asking = app.ask(method, &path).json(&json!({})).bearer(token);
            asking.send().await.ok().to_string()
        };
        let (seen, all) = (ask(&viewer).await, ask(&root).await);
        assert!(all.contains("hidden"), "{path}: {all}");
        assert!(!seen.contains("hidden"), "{path}: {seen}");
    }
}
