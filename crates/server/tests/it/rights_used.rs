//! Rights hold when they are used: not only when a request begins, nor for what somebody else approved.

use crate::app::{Answer, TestApp};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tollgate_testkit::fake_runtime::Behaviour;

const FUNCTIONS: &str = "/api/apps/user-management/functions/";

async fn app() -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    (app, root)
}

async fn send(app: &TestApp, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    app.ask(method, path).json(body).bearer(token).send().await
}

async fn roles(app: &TestApp, root: &str, method: &str, role: &str, who: &str) {
    let path = match method {
        "POST" => "/api/assign/roles/",
        _ => "/api/revoke/roles/",
    };
    let body = json!({"roles": [role], "usernames": [who]});
    send(app, root, method, path, &body).await.ok();
}

/// The PRE event, and the request.
fn change(operation: &str) -> (&'static str, &'static str, &'static str, Value) {
    match operation {
        "create" => (
            "PRE_USER_CREATE",
            "POST",
            "/api/users/",
            json!({"username": "target2", "email": "t2@example.com"}),
        ),
        "update" => (
            "PRE_USER_UPDATE",
            "PATCH",
            "/api/users/target/",
            json!({"email": "evil@example.com", "password": "another good one"}),
        ),
        _ => ("PRE_USER_DELETE", "DELETE", "/api/users/target/", json!({})),
    }
}

/// To ann, whose token and key's number these are, or to the target.
async fn happen(what: &str, app: &TestApp, root: &str, (ann, key): (&str, &Value)) {
    match what {
        "role" => roles(app, root, "DELETE", "admin", "ann").await,
        "inactive" => {
            let body = json!({"is_active": false});
            send(app, root, "PATCH", "/api/users/ann/", &body)
                .await
                .ok();
        }
        "deleted" => {
            let asking = app.ask("DELETE", "/api/users/ann/").bearer(root);
            asking.send().await.ok();
        }
        "key" => {
            let path = format!("/api/cloud/auth/api-keys/{key}/");
            app.ask("DELETE", &path).bearer(ann).send().await.ok();
        }
        "target admin" => roles(app, root, "POST", "admin", "target").await,
        "target viewer" => {
            roles(app, root, "POST", "user-management:viewer", "target").await;
        }
        _ => {}
    }
}

/// What happens while the PRE stage of `operation` by ann, an administrator, on `target` is under way;
/// how it is answered then.
async fn meanwhile(operation: &str, what: &str) -> Answer {
    let (app, root) = app().await;
    app.function(&root, "Look").await;
    let ann = app.user(&root, "ann", &["admin"]).await;
    app.user(&root, "target", &[]).await;
    let keys = "/api/cloud/auth/api-keys/";
    let key = send(&app, &ann, "POST", keys, &json!({"name": "k"}))
        .await
        .ok();
    let key_id = key["data"]["id"].clone();
    let credential = match what {
        "key" => format!("Api-Key {}", key["data"]["key"].as_str().unwrap()),
        _ => format!("Bearer {ann}"),
    };
    let (event, method, path, body) = change(operation);
    let filter = "event.params.username.startsWith('target')";
    let subscribe = format!("/api/cloud/events/{event}/subscribe/");
    let subscription = json!({"function_id": 1, "filter": filter});
    send(&app, &root, "POST", &subscribe, &subscription)
        .await
        .ok();
    let mut asking = app.ask(method, path).header("authorization", &credential);
    if operation != "delete" {
        asking = asking.json(&body);
    }
    let pending = tokio::spawn(asking.send());
    app.gate.entered().await;
    happen(what, &app, &root, (&ann, &key_id)).await;
    app.gate.let_go(1);
    let answer = pending.await.unwrap();
    let found = app
        .get("/api/users/?search=t")
        .bearer(&root)
        .send()
        .await
        .ok();
    let users = found["data"].as_array().unwrap();
    let find = |name: &str| users.iter().find(|it| it["username"] == name).cloned();
    let is_done = match operation {
        "create" => find("target2").is_some(),
        "update" => find("target").unwrap()["email"] == "evil@example.com",
        _ => find("target").is_none(),
    };
    assert_eq!(is_done, answer.status < 300, "{operation} {what}");
    // The function did run, and is on record either way.
    let runs = app.get("/api/invocations/").bearer(&root).send().await.ok();
    assert_eq!(runs["data"][0]["state"], "succeeded", "{operation} {what}");
    assert_eq!(runs["total"], 1, "{operation} {what}");
    answer
}

#[tokio::test]
async fn a_change_is_refused_to_whoever_lost_the_right_while_functions_were_asked() {
    for operation in ["create", "update", "delete"] {
        meanwhile(operation, "nothing").await.ok();
        let refused = meanwhile(operation, "role").await;
        refused.is_error(403, "FORBIDDEN");
        for what in ["inactive", "deleted", "key"] {
            let refused = meanwhile(operation, what).await;
            refused.is_error(401, "UNAUTHORIZED");
        }
    }
}

#[tokio::test]
async fn a_change_is_refused_when_its_target_gained_rights_while_functions_were_asked() {
    for operation in ["update", "delete"] {
        for what in ["target admin", "target viewer"] {
            let refused = meanwhile(operation, what).await;
            refused.is_error(409, "CONFLICT");
        }
    }
}

/// By the right that was theirs when the request came: of code that loads slowly, for every way to have
/// it loaded.
#[tokio::test]
async fn what_loads_slowly_is_refused_to_whoever_lost_the_right_meanwhile() {
    for way in ["create", "update", "activate", "switch on", "subscribe"] {
        for lost in [false, true] {
            let (app, root) = app().await;
            let dev = app.user(&root, "dev", &["user-management:developer"]).await;
            let code = |n: u8| json!({"name": "Own", "code": format!("def main(p): return {n}")});
            let path = format!("{FUNCTIONS}own/");
            if way != "create" {
                send(&app, &dev, "POST", FUNCTIONS, &code(1)).await.ok();
            }
            if way == "activate" {
                let new = json!({"code": "def main(p): return 2"});
                send(&app, &dev, "PATCH", &path, &new).await.ok();
            }
            if way == "switch on" {
                let off = json!({"is_active": false});
                send(&app, &dev, "PATCH", &path, &off).await.ok();
            }
            let activate = format!("{path}versions/1/activate/");
            let subscribe = "/api/cloud/events/PRE_USER_CREATE/subscribe/".to_owned();
            let (method, path, body) = match way {
                "create" => ("POST", FUNCTIONS.to_owned(), code(1)),
                "update" => (
                    "PATCH",
                    path.clone(),
                    json!({"code": "def main(p): return 3"}),
                ),
                "activate" => ("POST", activate, json!({})),
                "switch on" => ("PATCH", path.clone(), json!({"is_active": true})),
                _ => ("POST", subscribe, json!({"function_id": 1})),
            };
            let gate = Arc::new(Semaphore::new(0));
            app.fake.hold_loading("own", &gate);
            let asking = app.ask(method, &path).json(&body).bearer(&dev);
            let pending = tokio::spawn(asking.send());
            app.fake.loading().await;
            if lost {
                roles(&app, &root, "DELETE", "user-management:developer", "dev").await;
            }
            gate.add_permits(100);
            let answer = pending.await.unwrap();
            match lost {
                true => drop(answer.is_error(403, "FORBIDDEN").to_owned()),
                false => drop(answer.ok()),
            }
            let of = format!("{FUNCTIONS}own/");
            let found = app.get(&of).bearer(&root).send().await;
            let event = "/api/apps/user-management/events/PRE_USER_CREATE/";
            let event = app.get(event).bearer(&root).send().await.ok();
            let stands = match way {
                "create" => found.status == 200,
                "update" => found.body["version"] == 2,
                "activate" => found.body["version"] == 1,
                "switch on" => found.body["is_active"] == true,
                _ => event["data"]["total_subscribers"] == 1,
            };
            assert_eq!(stands, !lost, "{way}");
        }
    }
}

/// What may be declared is decided anew as well: an administrator who is none any more grants nothing.
#[tokio::test]
async fn permissions_are_not_granted_by_whoever_lost_them_while_code_was_loaded() {
    let (app, root) = app().await;
    let boss = app
        .user(&root, "boss", &["admin", "user-management:developer"])
        .await;
    let gate = Arc::new(Semaphore::new(0));
    app.fake.hold_loading("own", &gate);
    let new =
        json!({"name": "Own", "code": "def main(p): return 1", "permissions": ["users.manage"]});
    let pending = tokio::spawn(app.post(FUNCTIONS, &new).bearer(&boss).send());
    app.fake.loading().await;
    roles(&app, &root, "DELETE", "admin", "boss").await;
    gate.add_permits(100);
    pending.await.unwrap().is_error(403, "FORBIDDEN");
    let plain = json!({"name": "Own", "code": "def main(p): return 1"});
    send(&app, &boss, "POST", FUNCTIONS, &plain).await.ok();
}

/// A version that was written by somebody else before the permissions were declared, however they came.
#[tokio::test]
async fn a_replaced_version_inherits_nothing_from_the_change_that_replaced_it() {
    let granted = json!({"permissions": ["users.manage"], "acts_as": "function"});
    let with = |more: Value| {
        let mut body = granted.clone();
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let code = json!({"code": "def main(p): return 'reviewed'"});
    for (n, steps) in [
        vec![with(code.clone())],
        vec![code.clone(), granted.clone()],
        vec![
            with(json!({"code": "def main(p): return 2", "description": "new"})),
            code.clone(),
        ],
        vec![
            json!({"is_active": false}),
            with(code.clone()),
            json!({"is_active": true}),
        ],
        vec![
            with(code.clone()),
            json!({"permissions": ["users.manage", "users.read"]}),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let (app, root) = app().await;
        let dev = app.user(&root, "dev", &["user-management:developer"]).await;
        app.user(&root, "target", &[]).await;
        let args = json!({"username": "target", "data": {"attributes": {"owned": "by v1"}}});
        app.fake.on("tool", Behaviour::Ask("users.update", args));
        let new = json!({"name": "Tool", "code": "def main(p): return 'evil'", "max_attempts": 1});
        send(&app, &dev, "POST", FUNCTIONS, &new).await.ok();
        let letter = app.dead_letter(&dev, "tool", &json!({})).await;
        for step in &steps {
            app.change(&root, "tool", step).await.ok();
        }
        let replay = format!("/api/invocations/{letter}/replay/");
        let own = json!({"version": "own"});
        let refused = send(&app, &dev, "POST", &replay, &own).await;
        let message = refused.is_error(400, "FUNCTION_FAILED");
        assert!(
            message.starts_with("NOT_FOUND User not found"),
            "{n}: {message}"
        );
        let mut changes = app.platform.invocations.watch();
        let redrive = format!("/api/dead-letters/{letter}/redrive/");
        send(&app, &dev, "POST", &redrive, &own).await.ok();
        while !changes.recv().await.unwrap().state.is_final() {}
        let path = format!("/api/invocations/{letter}/");
        let run = app.get(&path).bearer(&root).send().await.ok();
        assert_eq!(run["state"], "dead", "{n}: {run}");
        let target = app
            .get("/api/users/target/")
            .bearer(&root)
            .send()
            .await
            .ok();
        assert_eq!(target["data"]["attributes"], json!({}), "{n}");
        // What is active has them.
        send(&app, &dev, "POST", &replay, &json!({})).await.ok();
    }
}

/// Changes, and whether they are free to a developer of the app.
fn reductions() -> Vec<(Value, bool)> {
    vec![
        (json!({"permissions": ["users.read"]}), true),
        (json!({"permissions": []}), true),
        (json!({"acts_as": "caller"}), true),
        (json!({"permissions_scope": "app"}), true),
        (
            json!({"permissions": [], "acts_as": "caller", "permissions_scope": "app"}),
            true,
        ),
        (
            json!({"permissions": ["users.read"], "timeout_seconds": 3.0, "rate_limit": "1/m"}),
            true,
        ),
        // Held in the app, and not in the whole site.
        (
            json!({"permissions": ["functions.read", "functions.deploy"]}),
            false,
        ),
        (
            json!({"permissions": ["functions.read", "functions.deploy"], "permissions_scope": "app"}),
            true,
        ),
        (
            json!({"permissions": ["users.read", "roles.assign"]}),
            false,
        ),
        (
            json!({"permissions": ["roles.assign"], "acts_as": "caller"}),
            false,
        ),
        (
            json!({"permissions": ["users.read"], "name": "Other"}),
            false,
        ),
        (
            json!({"permissions": ["users.read"], "code": "def main(p): return 2"}),
            false,
        ),
        (
            json!({"permissions": [], "code": "def main(p): return 2"}),
            true,
        ),
    ]
}

/// Taking away is free to whoever deploys; adding and widening is not, beside it either.
#[tokio::test]
async fn only_what_is_added_or_widened_must_be_held() {
    let start = json!({"permissions": ["users.read", "users.manage", "functions.read"],
        "permissions_scope": "site", "acts_as": "function"});
    for (body, free) in reductions() {
        let (app, root) = app().await;
        let dev = app.user(&root, "dev", &["user-management:developer"]).await;
        let new = json!({"name": "Own", "code": "def main(p): return 1"});
        send(&app, &dev, "POST", FUNCTIONS, &new).await.ok();
        app.change(&root, "own", &start).await.ok();
        let answer = app.change(&dev, "own", &body).await;
        if !free {
            answer.is_error(403, "FORBIDDEN");
            continue;
        }
        let changed = answer.ok();
        for (field, value) in body.as_object().unwrap() {
            if field != "code" {
                assert_eq!(changed[field], *value, "{body}");
            }
        }
        // Who granted what is left has not changed, unless something was added.
        let by = &changed["permissions_granted_by"]["username"];
        let declares = changed["permissions"] != json!([]) || changed["acts_as"] != "caller";
        let added = body["permissions"][1] == "functions.deploy";
        match (declares, added) {
            (true, true) => assert_eq!(by, "dev", "{body}"),
            (true, false) => assert_eq!(by, "root", "{body}"),
            (false, _) => assert_eq!(*by, Value::Null, "{body}"),
        }
        // And it is not put back by the same person.
        if changed["permissions"] != start["permissions"] {
            let again = app.change(&dev, "own", &start).await;
            again.is_error(403, "FORBIDDEN");
        }
    }
}
