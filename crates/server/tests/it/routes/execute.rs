//! `…/functions/{slug}/execute/`, with and without a credential

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::json;

const FUNCTIONS: &str = "/api/apps/user-management/functions/";

fn path(slug: &str) -> String {
    format!("{FUNCTIONS}{slug}/execute/")
}

#[tokio::test]
async fn waits_for_the_result() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let body = json!({"params": {"username": "ann"}});
    assert_answer!(
        app.post(&path("validate-user-data"), &body)
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn nothing_returned_is_an_empty_list() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Check Email Domain").await;
    for body in [
        json!({}),
        json!({"params": null}),
        json!({"params": {}, "async": false}),
    ] {
        let answer = app
            .post(&path("check-email-domain"), &body)
            .bearer(&root)
            .send()
            .await
            .ok();
        assert_eq!(answer["data"], json!([]));
        assert_eq!(answer["queued"], false);
    }
    let asking = app.ask("POST", &path("check-email-domain")).bearer(&root);
    assert_eq!(asking.send().await.status, 200, "no body at all");
}

#[tokio::test]
async fn queues_when_asked() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let body = json!({"params": {}, "async": true});
    let answer = app
        .post(&path("validate-user-data"), &body)
        .bearer(&root)
        .send()
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["message"], "Function execution started");
    assert_eq!(answer.body["queued"], true);
    assert_eq!(answer.body["data"], json!([]));
    assert_eq!(answer.body["invocation"]["trigger_type"], "api");
}

#[tokio::test]
async fn a_broken_function_is_explained() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Broken").await;
    assert_answer!(
        app.post(&path("broken"), &json!({}))
            .bearer(&root)
            .send()
            .await
    );
}

#[tokio::test]
async fn params_are_an_object() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Broken").await;
    for params in [json!([]), json!("x"), json!(1), json!(true)] {
        let body = json!({"params": params});
        let answer = app.post(&path("broken"), &body).bearer(&root).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn only_public_functions_run_without_a_credential() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let path = "/api/public/apps/user-management/functions/validate-user-data/execute/";
    let body = json!({"params": {"username": "ann"}});
    app.post(path, &body)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    let function = format!("{FUNCTIONS}validate-user-data/");
    let public = json!({"is_public": true});
    app.ask("PATCH", &function)
        .json(&public)
        .bearer(&root)
        .send()
        .await
        .ok();
    let answer = app.post(path, &body).send().await.ok();
    assert_eq!(answer["data"], json!({"checked": "ann"}));
    let nowhere = "/api/public/apps/nope/functions/validate-user-data/execute/";
    app.post(nowhere, &body)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}
