//! What events tell and promise beside those of users: the request behind them, refusals and what people read of
//! them, roles, sign-ins, passwords.

mod denials;
mod login;
mod logout;
mod password;
mod request;
mod roles;
mod user_message;

use crate::app::{Answer, TestApp};
use serde_json::{Value, json};
use tollgate_runtimes::{SystemCall, SystemRuntime};
use tollgate_testkit::fake_runtime::Behaviour;

pub(crate) const FUNCTIONS: &str = "/api/apps/user-management/functions/";

/// Rust functions of these tests.
pub(crate) fn register(system: &mut SystemRuntime) {
    system.register("show", |call: SystemCall| async move {
        Ok(json!({"seen": call.params["__function__"]["request"]}))
    });
    // Fails until there is a user of this name.
    system.register("show-after-go", |call: SystemCall| async move {
        let go = call.host.ask("users.get", &json!({"username": "go"})).await;
        go.map_err(|error| error.message.clone())?;
        Ok(json!({"seen": call.params["__function__"]["request"]}))
    });
}

/// A platform with an app, and its superuser's token.
pub(super) async fn world() -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    (app, root)
}

/// Deploys a function that does this, and subscribes it.
pub(super) async fn on(app: &TestApp, root: &str, event: &str, slug: &str, does: Behaviour) -> i64 {
    app.fake.on(slug, does);
    let body = json!({"name": slug, "code": "def main(): pass"});
    let function = app.post(FUNCTIONS, &body).bearer(root).send().await.ok();
    let id = function["id"].as_i64().unwrap();
    app.subscribe(root, event, id).await;
    id
}

/// The same for a function that agrees.
pub(super) async fn agrees(app: &TestApp, root: &str, event: &str, slug: &str) -> i64 {
    on(app, root, event, slug, Behaviour::Return(Value::Null)).await
}

/// The same for one that refuses.
pub(super) async fn refuses(app: &TestApp, root: &str, event: &str, slug: &str) -> i64 {
    let no = json!({"success": false, "error": "not today"});
    on(app, root, event, slug, Behaviour::Return(no)).await
}

/// The records of a function's runs as they stand now, the oldest first.
pub(super) async fn runs(app: &TestApp, root: &str, slug: &str) -> Vec<Value> {
    let path = format!("/api/invocations/?function_slug={slug}&limit=100");
    let list = app.get(&path).bearer(root).send().await.ok();
    let mut runs = Vec::new();
    for run in list["data"].as_array().unwrap().iter().rev() {
        let path = format!("/api/invocations/{}/", run["id"]);
        runs.push(app.get(&path).bearer(root).send().await.ok());
    }
    runs
}

/// The same once there are `count` and all have ended.
pub(super) async fn ended(app: &TestApp, root: &str, slug: &str, count: usize) -> Vec<Value> {
    let mut changes = app.platform.invocations.watch();
    loop {
        let runs = runs(app, root, slug).await;
        let is_over = |run: &Value| run["status"] == "SUCCESS" || run["status"] == "FAILURE";
        if runs.len() >= count && runs.iter().all(is_over) {
            assert_eq!(runs.len(), count, "{slug}: {runs:?}");
            return runs;
        }
        changes.recv().await.unwrap();
    }
}

/// What the one run of a function was given.
pub(super) async fn given(app: &TestApp, root: &str, slug: &str) -> Value {
    let runs = ended(app, root, slug, 1).await;
    assert_eq!(runs[0]["state"], "succeeded", "{}", runs[0]);
    runs[0]["task_result"]["task_args"].clone()
}

pub(super) async fn create(app: &TestApp, token: &str, name: &str) -> Answer {
    let body = json!({"username": name, "email": format!("{name}@example.com")});
    app.post("/api/users/", &body).bearer(token).send().await
}
