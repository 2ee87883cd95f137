//! `/api/cloud/events/{event_name}/explain/`, filters, and versions that do not load.

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::{Value, json};
use tollgate_core::tasks::FailureKind;
use tollgate_testkit::fake_runtime::Behaviour;

const FUNCTIONS: &str = "/api/apps/user-management/functions/";
const SUBSCRIBE: &str = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
const EXPLAIN: &str = "/api/cloud/events/PRE_USER_CREATE/explain/";

async fn function(app: &TestApp, root: &str, mut body: Value) -> i64 {
    body["code"] = json!("def main(): pass");
    let function = app.post(FUNCTIONS, &body).bearer(root).send().await;
    function.ok()["id"].as_i64().unwrap()
}

async fn subscribe(app: &TestApp, root: &str, function: i64, mut options: Value) {
    options["function_id"] = json!(function);
    app.post(SUBSCRIBE, &options).bearer(root).send().await.ok();
}

#[tokio::test]
async fn tells_what_would_run_and_why_the_rest_would_not() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let last = function(&app, &root, json!({"name": "Last"})).await;
    subscribe(&app, &root, last, json!({"priority": 5})).await;
    let filter = "event.params.email.endsWith('@example.com') && user.is_superuser";
    let first = function(&app, &root, json!({"name": "First"})).await;
    subscribe(
        &app,
        &root,
        first,
        json!({"priority": -1, "filter": filter}),
    )
    .await;
    let other = function(&app, &root, json!({"name": "Other"})).await;
    subscribe(
        &app,
        &root,
        other,
        json!({"filter": "event.params.is_staff"}),
    )
    .await;
    let conditions = "event.type.startsWith('POST')";
    let body = json!({"name": "Post Only", "filter_conditions": conditions});
    let post_only = function(&app, &root, body).await;
    subscribe(&app, &root, post_only, json!({})).await;
    let unclear = function(&app, &root, json!({"name": "Unclear"})).await;
    subscribe(
        &app,
        &root,
        unclear,
        json!({"filter": "event.params.attributes.x == 1"}),
    )
    .await;
    let off = function(&app, &root, json!({"name": "Off"})).await;
    subscribe(&app, &root, off, json!({})).await;
    let path = format!("{FUNCTIONS}off/");
    let asking = app.ask("PATCH", &path).json(&json!({"is_active": false}));
    asking.bearer(&root).send().await.ok();

    assert_answer!(app.post(EXPLAIN, &json!({})).bearer(&root).send().await);
    let params = json!({"params": {"email": "x@other.example", "attributes": {"x": 1}}});
    let answer = app.post(EXPLAIN, &params).bearer(&root).send().await.ok();
    let would: Vec<_> = answer["data"]["subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["would_run"] == true)
        .map(|it| it["function_slug"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(would, ["unclear", "last"]);
    assert_eq!(answer["data"]["would_run"], 2);
    assert!(app.fake.calls().is_empty(), "nothing may run");
}

/// The slugs of what would run.
fn would_run(explained: &Value) -> Vec<&str> {
    let all = explained["data"]["subscriptions"].as_array().unwrap();
    let runs = all.iter().filter(|it| it["would_run"] == true);
    runs.map(|it| it["function_slug"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_request_is_ones_own_unless_another_is_given() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for (name, filter) in [
        ("inside", "event.request.ip.startsWith('10.')"),
        ("keys", "event.request.credential_kind == 'api_key'"),
        ("mine", "event.request.user_agent == 'trial/1.0'"),
        ("hosts", "event.request.host == 'localhost'"),
        ("ids", "event.request.request_id == 'r-1'"),
        ("caused", "event.request == null"),
    ] {
        let id = function(&app, &root, json!({"name": name})).await;
        subscribe(&app, &root, id, json!({"filter": filter})).await;
    }
    let explain = async |body: Value| {
        let asking = app.post(EXPLAIN, &body).bearer(&root);
        let asking = asking.header("user-agent", "trial/1.0");
        let answer = asking.send().await.ok();
        would_run(&answer)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(explain(json!({})).await, ["mine", "hosts"]);
    let request = json!({"ip": "10.0.0.1", "credential_kind": "api_key"});
    let told = explain(json!({"request": request})).await;
    assert_eq!(told, ["inside", "keys", "mine", "hosts"]);
    let request = json!({"user_agent": null, "host": "other.test", "request_id": "r-1"});
    assert_eq!(explain(json!({"request": request})).await, ["ids"]);
    assert_eq!(explain(json!({"request": null})).await, ["caused"]);
    // A run's own calls have no request behind them.
    let run = format!("{FUNCTIONS}mine/execute/");
    let run = app.post(&run, &json!({})).bearer(&root).send().await.ok();
    let run = &run["invocation"]["id"];
    assert_eq!(explain(json!({"caused_by": run})).await, ["caused"]);
    for wrong in [
        json!({"ip": 1}),
        json!({"credential_kind": "password"}),
        json!({"host": null}),
        json!({"languages": []}),
        json!("x"),
    ] {
        let body = json!({"request": wrong});
        let answer = app.post(EXPLAIN, &body).bearer(&root).send().await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(message.contains("request"), "{message}");
    }
}

#[tokio::test]
async fn parameters_that_no_such_event_has_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for params in [json!({"emial": "x"}), json!({"email": 3}), json!([1])] {
        let body = json!({"params": params});
        let answer = app.post(EXPLAIN, &body).bearer(&root).send().await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_right_is_refused_with_its_place() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = function(&app, &root, json!({"name": "Check"})).await;
    let body = json!({"function_id": id, "filter": "event.params.emial == 'x'"});
    assert_answer!(app.post(SUBSCRIBE, &body).bearer(&root).send().await);
    let body = json!({"name": "Two", "code": "x", "filter_conditions": "event.nothing"});
    let answer = app.post(FUNCTIONS, &body).bearer(&root).send().await;
    let message = answer.is_error(400, "VALIDATION_ERROR");
    assert!(
        message.starts_with("filter_conditions: line 1, column 6"),
        "{message}"
    );

    // Conditions are checked against what the function is subscribed to.
    subscribe(&app, &root, id, json!({})).await;
    let asking = app.ask("PATCH", &format!("{FUNCTIONS}check/"));
    let body = json!({"filter_conditions": "event.params.user_id > 3"});
    let answer = asking.json(&body).bearer(&root).send().await;
    let message = answer.is_error(400, "VALIDATION_ERROR");
    assert!(message.contains("For PRE_USER_CREATE"), "{message}");
}

#[tokio::test]
async fn options_are_unset_by_null() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = function(&app, &root, json!({"name": "Check", "timeout_seconds": 3})).await;
    subscribe(
        &app,
        &root,
        id,
        json!({"filter": "true", "timeout_seconds": 2}),
    )
    .await;
    let body = json!({"function_id": id, "filter": null, "timeout_seconds": null});
    let answer = app
        .ask("PATCH", SUBSCRIBE)
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    let options = &answer.ok()["data"]["options"];
    assert_eq!(
        (&options["filter"], &options["timeout_seconds"]),
        (&Value::Null, &Value::Null)
    );
    let asking = app.ask("PATCH", &format!("{FUNCTIONS}check/"));
    let answer = asking
        .json(&json!({"timeout_seconds": null}))
        .bearer(&root)
        .send()
        .await;
    assert_eq!(answer.ok()["timeout_seconds"], Value::Null);
}

#[tokio::test]
async fn a_function_whose_first_version_does_not_load_is_not_created() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"name": "Bad", "code": "import nothing"});
    app.fake.refuse_to_load("bad", FailureKind::Load);
    let answer = app.post(FUNCTIONS, &body).bearer(&root).send().await;
    let message = answer.is_error(400, "VALIDATION_ERROR");
    assert!(
        message.contains("Version 1 of function 'bad' does not load"),
        "{message}"
    );
    assert_eq!(answer.body["errors"][0]["field"], "code");
    app.fake.refuse_to_load("bad", FailureKind::Unavailable);
    let answer = app.post(FUNCTIONS, &body).bearer(&root).send().await;
    answer.is_error(503, "SERVICE_UNAVAILABLE");
    let answer = app
        .get(&format!("{FUNCTIONS}bad/"))
        .bearer(&root)
        .send()
        .await;
    answer.is_error(404, "NOT_FOUND");
    // Switched off it runs nothing, so nothing is loaded until it is switched on.
    let off = json!({"name": "Bad", "code": "import nothing", "is_active": false});
    app.post(FUNCTIONS, &off).bearer(&root).send().await.ok();
    assert!(app.fake.warmed().is_empty());
    app.fake.load_again("bad");
    let body = json!({"name": "Good", "code": "def main(p): pass"});
    app.post(FUNCTIONS, &body).bearer(&root).send().await.ok();
    assert_eq!(app.fake.warmed(), [("good".to_owned(), 1)]);
}

#[tokio::test]
async fn a_version_that_does_not_load_takes_no_traffic() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = function(&app, &root, json!({"name": "Check"})).await;
    subscribe(&app, &root, id, json!({})).await;
    assert_eq!(app.fake.warmed(), [("check".to_owned(), 1)]);
    app.fake.refuse_to_load("check", FailureKind::Load);
    let path = format!("{FUNCTIONS}check/");
    let body = json!({"code": "1/0", "description": "new"});
    let answer = app
        .ask("PATCH", &path)
        .json(&body)
        .bearer(&root)
        .send()
        .await;
    let message = answer.is_error(400, "VALIDATION_ERROR");
    assert!(
        message.contains("Version 2 of function 'check' does not load"),
        "{message}"
    );
    let found = app.get(&path).bearer(&root).send().await.ok();
    assert_eq!(
        (&found["version"], &found["description"]),
        (&json!(1), &json!(""))
    );
    let activate = format!("{path}versions/2/activate/");
    let answer = app.ask("POST", &activate).bearer(&root).send().await;
    answer.is_error(400, "VALIDATION_ERROR");

    app.fake.refuse_to_load("check", FailureKind::Unavailable);
    let answer = app.ask("POST", &activate).bearer(&root).send().await;
    answer.is_error(503, "SERVICE_UNAVAILABLE");

    app.fake.load_again("check");
    let answer = app.ask("POST", &activate).bearer(&root).send().await.ok();
    assert_eq!(answer["version"], 2);
    // The version was loaded before it was active, and it is the one that stays.
    assert_eq!(app.fake.warmed().last(), Some(&("check".to_owned(), 2)));
    assert_eq!(app.fake.kept(), [("check".to_owned(), 2)]);

    let back = format!("{path}versions/1/activate/");
    app.ask("POST", &back).bearer(&root).send().await.ok();
    assert_eq!(app.fake.kept(), [("check".to_owned(), 1)]);
    let body = json!({"function_id": id});
    let path = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";
    app.post(path, &body).bearer(&root).send().await.ok();
    assert!(app.fake.kept().is_empty());
}

#[tokio::test]
async fn a_pre_function_that_does_not_load_cannot_be_subscribed() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = function(&app, &root, json!({"name": "Check"})).await;
    app.fake.refuse_to_load("check", FailureKind::Load);
    let body = json!({"function_id": id});
    let answer = app.post(SUBSCRIBE, &body).bearer(&root).send().await;
    answer.is_error(400, "VALIDATION_ERROR");
    app.fake.on("check", Behaviour::Return(Value::Null));
    let post = "/api/cloud/events/POST_USER_CREATE/subscribe/";
    app.post(post, &body).bearer(&root).send().await.ok();
}
