//! What a running function reaches through its `sdk_client`.

use crate::app::TestApp;
use serde_json::{Value, json};

async fn ask(app: &TestApp, token: &str, method: &str, args: Value) -> Result<Value, String> {
    let path = "/api/apps/user-management/functions/ask/execute/";
    let body = json!({"params": {"method": method, "args": args}});
    let answer = app.post(path, &body).bearer(token).send().await;
    match answer.status {
        200 => Ok(answer.body["data"].clone()),
        _ => Err(answer.is_error(400, "FUNCTION_FAILED").to_owned()),
    }
}

#[tokio::test]
async fn a_function_acts_with_its_callers_rights() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Ask").await;
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "ask", &rights).await.ok();
    let ann = app.user(&root, "ann", &["user-management:developer"]).await;

    let me = ask(&app, &ann, "auth.get_current_user", json!({}))
        .await
        .unwrap();
    assert_eq!(me["data"]["username"], "ann");
    let apps = ask(&app, &ann, "users.apps", json!({"username": "ann"}))
        .await
        .unwrap();
    assert_eq!(apps[0]["slug"], "user-management");
    let bob = json!({"data": {"username": "bob", "email": "bob@example.com"}});
    let refused = ask(&app, &ann, "users.create", bob.clone())
        .await
        .unwrap_err();
    assert!(refused.starts_with("FORBIDDEN"), "{refused}");
    let created = ask(&app, &root, "users.create", bob).await.unwrap();
    assert_eq!(created["data"]["username"], "bob");
    let nobody = ask(&app, &root, "users.get", json!({"username": "x/y"}))
        .await
        .unwrap_err();
    assert!(nobody.starts_with("NOT_FOUND"), "{nobody}");
    let unknown = ask(&app, &root, "storage.get", json!({"key": "k"}))
        .await
        .unwrap_err();
    assert!(unknown.starts_with("NOT_FOUND"), "{unknown}");
}

/// A public call; why it failed is what `root` reads, because a stranger is not told.
async fn ask_as_nobody(
    app: &TestApp,
    root: &str,
    method: &str,
    args: Value,
) -> Result<Value, String> {
    let body = json!({"params": {"method": method, "args": args}});
    let path = "/api/public/apps/user-management/functions/ask/execute/";
    let answer = app.post(path, &body).send().await;
    if answer.status == 200 {
        return Ok(answer.body["data"].clone());
    }
    answer.is_error(400, "FUNCTION_FAILED");
    let task = answer.body["task_id"].as_str().unwrap();
    let record = app.get(&format!("/api/result/{task}/")).bearer(root);
    let record = record.send().await.ok();
    Err(record["data"]["traceback"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_function_reads_the_secrets_of_its_own_app_whoever_calls_it() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let other = app
        .post("/api/apps/", &json!({"name": "Other"}))
        .bearer(&root);
    other.send().await.ok();
    app.function(&root, "Ask").await;
    for (path, key, value) in [
        ("/api/secrets/?app=user-management", "OWN", "own-value"),
        ("/api/secrets/", "SHARED", "shared-value"),
        ("/api/secrets/?app=other", "THEIRS", "their-value"),
    ] {
        let body = json!({"key": key, "value": value});
        app.post(path, &body).bearer(&root).send().await.ok();
    }
    let path = "/api/apps/user-management/functions/ask/";
    let public = app.ask("PATCH", path).json(&json!({"is_public": true}));
    public.bearer(&root).send().await.ok();
    // Nobody is signed in, and the superuser reaches no more.
    let nobody = async |method: &str, args: Value| ask_as_nobody(&app, &root, method, args).await;
    let own = json!({"key": "OWN", "app": "user-management"});
    let got = nobody("secrets.get", own.clone()).await.unwrap();
    assert_eq!(
        (&got["value"], &got["app"]),
        (&json!("own-value"), &json!("user-management"))
    );
    let got = nobody("secrets.get", json!({"key": "SHARED"}))
        .await
        .unwrap();
    assert_eq!(got["value"], "shared-value");
    let keys = json!({"keys": ["OWN", "SHARED", "THEIRS"]});
    let listed = nobody("secrets.list", keys).await.unwrap();
    assert_eq!(
        (&listed["total"], listed["data"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    let listed = nobody("secrets.list", json!({"page_size": 1, "tags": []}))
        .await
        .unwrap();
    assert_eq!(listed["total"], 2, "{listed}");
    assert!(!listed.to_string().contains("-value"), "{listed}");
    let me = nobody("auth.get_current_user", json!({}))
        .await
        .unwrap_err();
    assert!(me.starts_with("UNAUTHORIZED"), "{me}");
    for (args, refusal) in [
        (json!({"key": "THEIRS", "app": "other"}), "FORBIDDEN"),
        (json!({"key": "THEIRS"}), "NOT_FOUND"),
        (json!({"key": ["OWN"]}), "BAD_REQUEST"),
        (json!({}), "BAD_REQUEST"),
        (json!({"key": "OWN", "tags": ["none"]}), "NOT_FOUND"),
    ] {
        let error = nobody("secrets.get", args.clone()).await.unwrap_err();
        assert!(error.starts_with(refusal), "{error}");
        let error = ask(&app, &root, "secrets.get", args).await.unwrap_err();
        assert!(error.starts_with(refusal), "{error}");
    }
    let set = nobody("secrets.update", own).await.unwrap_err();
    assert!(set.starts_with("NOT_FOUND"), "{set}");
}

#[tokio::test]
async fn a_chain_of_calls_ends() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Ask").await;
    let mut args = json!({"method": "auth.get_current_user", "args": {}});
    for _ in 0..10 {
        args = json!({"method": "functions.execute",
            "args": {"app_slug": "user-management", "function_slug": "ask", "params": args}});
    }
    let method = args["method"].as_str().unwrap().to_owned();
    let error = ask(&app, &root, &method, args["args"].clone())
        .await
        .unwrap_err();
    assert!(error.contains("chain of 8"), "{error}");
}

/// `ann`, then by its own call `ann-copy`, which would go on for ever.
#[tokio::test]
async fn a_function_that_causes_its_own_event_is_stopped() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let copy = app.function(&root, "Copy").await;
    let rights = json!({"permissions": ["users.manage"]});
    app.change(&root, "copy", &rights).await.ok();
    app.subscribe(&root, "POST_USER_CREATE", copy).await;
    let mut changes = app.platform.invocations.watch();
    app.user(&root, "ann", &[]).await;
    changes.recv().await.unwrap();
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    assert_eq!(list["total"], 1, "{list}");
    let error = list["data"][0]["error"]["message"].as_str().unwrap();
    assert!(
        error.starts_with("BAD_REQUEST Function 'Copy' runs for POST_USER_CREATE"),
        "{error}"
    );
    assert!(error.contains("for ever"), "{error}");
    // The copy was refused whole, with its user.
    let found = app.get("/api/users/ann-copy/").bearer(&root).send().await;
    assert_eq!(found.status, 404);

    // A replay stands in for that event: it is refused like the run that it repeats.
    let path = format!("/api/invocations/{}/replay/", list["data"][0]["id"]);
    let replayed = app.post(&path, &json!({})).bearer(&root).send().await;
    let error = replayed.is_error(400, "FUNCTION_FAILED");
    assert!(error.contains("for ever"), "{error}");
    let found = app.get("/api/users/ann-copy/").bearer(&root).send().await;
    assert_eq!(found.status, 404);

    // Explaining says the same beforehand.
    let path = "/api/cloud/events/POST_USER_CREATE/explain/";
    let body = json!({"caused_by": list["data"][0]["id"]});
    let explained = app.post(path, &body).bearer(&root).send().await.ok();
    let it = &explained["data"]["subscriptions"][0];
    assert_eq!(
        (&it["would_run"], &it["reason"]),
        (&json!(false), &json!("chain"))
    );
    let explained = app.post(path, &json!({})).bearer(&root).send().await.ok();
    assert_eq!(explained["data"]["would_run"], 1);
    let body = json!({"caused_by": 999});
    assert_eq!(app.post(path, &body).bearer(&root).send().await.status, 404);

    // A filter that does not hold for its own doing lets it work.
    let path = "/api/cloud/events/POST_USER_CREATE/subscribe/";
    let filter = "!event.params.username.endsWith('-copy')";
    let body = json!({"function_id": copy, "filter": filter});
    app.ask("PATCH", path)
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    app.user(&root, "bob", &[]).await;
    while changes.recv().await.unwrap().state != tollgate_core::tasks::State::Succeeded {}
    app.get("/api/users/bob-copy/")
        .bearer(&root)
        .send()
        .await
        .ok();
}

/// The stream of changes has no end, so an answer that is collected would have none either.
#[tokio::test]
async fn no_argument_leads_to_the_stream() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Ask").await;
    for (method, args) in [
        (
            "functions.get_invocation",
            json!({"invocation_id": "stream"}),
        ),
        (
            "functions.get_invocation",
            json!({"invocation_id": "stream/"}),
        ),
        ("functions.get_result", json!({"task_id": "stream"})),
        (
            "functions.get",
            json!({"app_slug": "user-management", "function_slug": "../.."}),
        ),
    ] {
        let refused = ask(&app, &root, method, args).await.unwrap_err();
        assert!(refused.starts_with("NOT_FOUND"), "{refused}");
    }
}
