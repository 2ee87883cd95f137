//! `…/functions/{slug}/execute/`, with and without a credential

use super::{assert_repeats, keyed, replayed, total};
use crate::app::TestApp;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

const RUNS: &str = "/api/invocations/";

fn path(slug: &str) -> String {
    format!("/api/apps/user-management/functions/{slug}/execute/")
}

async fn app_with(names: &[&str]) -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in names {
        app.function(&root, name).await;
    }
    (app, root)
}

fn ann() -> Value {
    json!({"params": {"username": "ann"}})
}

#[tokio::test]
async fn a_run_is_queued_once() {
    let (app, root) = app_with(&["Validate User Data"]).await;
    let body = json!({"params": {"username": "ann"}, "async": true});
    let asking = keyed(&app, &path("validate-user-data"), "k", &body).bearer(&root);
    let queued = assert_repeats(asking.clone(), 202).await;
    assert_eq!(queued["queued"], true);
    assert_eq!(queued["invocation"]["state"], "pending");
    assert_eq!(queued["invocation"]["user_username"], "root");
    let asked = (0..20).map(|_| asking.clone().send());
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.ok(), queued);
    }
    assert_eq!(total(&app, &root, RUNS).await, 1);
}

#[tokio::test]
async fn a_result_that_was_waited_for_is_given_again() {
    let (app, root) = app_with(&["Validate User Data"]).await;
    let asking = keyed(&app, &path("validate-user-data"), "k", &ann()).bearer(&root);
    let done = assert_repeats(asking, 200).await;
    assert_eq!(done["data"], json!({"checked": "ann"}));
    assert_eq!(done["invocation"]["state"], "succeeded");
    assert_eq!(done["invocation"]["logs"][0]["message"], "checking");
    assert_eq!(total(&app, &root, RUNS).await, 1);
    let record = format!("{RUNS}{}/", done["invocation"]["id"]);
    let record = app.get(&record).bearer(&root).send().await.ok();
    assert_eq!(record, done["invocation"]);
}

#[tokio::test]
async fn a_failed_run_is_not_kept() {
    let (app, root) = app_with(&["Broken"]).await;
    let asking = keyed(&app, &path("broken"), "k", &ann()).bearer(&root);
    for _ in 0..2 {
        let answer = asking.clone().send().await;
        answer.is_error(400, "FUNCTION_FAILED");
        assert!(!replayed(&answer));
    }
    assert_eq!(total(&app, &root, RUNS).await, 2);
}

#[tokio::test]
async fn a_caller_who_leaves_during_the_run_leaves_the_key_free() {
    let (app, root) = app_with(&["Hang", "Validate User Data"]).await;
    let hanging = keyed(&app, &path("hang"), "k", &ann()).bearer(&root);
    let mut hanging = Box::pin(hanging.send());
    while total(&app, &root, RUNS).await == 0 {
        assert!(hanging.as_mut().now_or_never().is_none());
    }
    drop(hanging);
    let next = keyed(&app, &path("validate-user-data"), "k", &ann()).bearer(&root);
    assert_repeats(next, 200).await;
    assert_eq!(total(&app, &root, RUNS).await, 2);
}

/// Nobody could tell whose it is: a stranger with the same key would be given the answer.
#[tokio::test]
async fn callers_without_a_credential_have_no_keys() {
    let (app, root) = app_with(&["Validate User Data"]).await;
    let public = json!({"is_public": true});
    app.change(&root, "validate-user-data", &public).await.ok();
    let public = "/api/public/apps/user-management/functions/validate-user-data/execute/";
    for body in [ann(), ann(), json!({}), json!({"async": true})] {
        let answer = keyed(&app, public, "k", &body).send().await;
        let message = answer.is_error(400, "BAD_REQUEST");
        assert!(message.contains("needs a credential"), "{message}");
    }
    assert_eq!(total(&app, &root, RUNS).await, 0);
    // A credential that is not asked for makes no difference.
    let answer = keyed(&app, public, "k", &ann()).bearer(&root).send().await;
    answer.is_error(400, "BAD_REQUEST");
}
