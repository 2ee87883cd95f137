//! The events around roles: a no, what they carry, and rights that end while functions are asked.

use super::{agrees, given, refuses, runs, world};
use crate::app::{Answer, TestApp};
use serde_json::{Value, json};

const ASSIGN: &str = "/api/assign/roles/";
const REVOKE: &str = "/api/revoke/roles/";

async fn assign(app: &TestApp, token: &str, body: &Value) -> Answer {
    app.post(ASSIGN, body).bearer(token).send().await
}

async fn revoke(app: &TestApp, token: &str, body: &Value) -> Answer {
    let asking = app.ask("DELETE", REVOKE).json(body).bearer(token);
    asking.send().await
}

/// The id and the roles of a user.
async fn look(app: &TestApp, root: &str, name: &str) -> (Value, Value) {
    let path = format!("/api/users/{name}/");
    let user = app.get(&path).bearer(root).send().await.ok();
    (user["data"]["id"].clone(), user["data"]["roles"].clone())
}

fn viewer() -> Value {
    json!({"roles": ["user-management:viewer"], "usernames": ["ann"]})
}

#[tokio::test]
async fn a_no_gives_and_takes_nothing() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    for event in ["ROLE_ASSIGN", "ROLE_REVOKE"] {
        let slug = event.to_lowercase().replace('_', "-");
        agrees(
            &app,
            &root,
            &format!("POST_{event}"),
            &format!("{slug}-done"),
        )
        .await;
        let told = format!("{slug}-told");
        agrees(&app, &root, &format!("POST_{event}_DENIED"), &told).await;
    }
    let no = refuses(&app, &root, "PRE_ROLE_ASSIGN", "no").await;
    let answer = assign(&app, &root, &viewer()).await;
    let message = answer.is_error(400, "PRE_EVENT_DENIED");
    assert!(message.contains("not today"), "{message}");
    let (id, roles) = look(&app, &root, "ann").await;
    assert_eq!(roles, json!([]));
    let told = given(&app, &root, "role-assign-told").await;
    let proposed = json!({"roles": ["user-management:viewer"],
        "users": [{"id": id, "username": "ann"}], "expires_at": null});
    assert_eq!(told["params"], proposed, "{told}");

    let path = "/api/cloud/events/PRE_ROLE_ASSIGN/unsubscribe/";
    let asking = app.post(path, &json!({"function_id": no})).bearer(&root);
    asking.send().await.ok();
    assign(&app, &root, &viewer()).await.ok();
    app.subscribe(&root, "PRE_ROLE_REVOKE", no).await;
    let answer = revoke(&app, &root, &viewer()).await;
    answer.is_error(400, "PRE_EVENT_DENIED");
    let (_, roles) = look(&app, &root, "ann").await;
    assert_eq!(roles, json!(["user-management:viewer"]));
    let told = given(&app, &root, "role-revoke-told").await;
    assert_eq!(told["event"], "PRE_ROLE_REVOKE", "{told}");
    assert_eq!(told["params"]["users"][0]["id"], id, "{told}");
    assert_eq!(runs(&app, &root, "role-assign-done").await.len(), 1);
    assert!(runs(&app, &root, "role-revoke-done").await.is_empty());
}

#[tokio::test]
async fn both_events_name_roles_and_users() {
    let (app, root) = world().await;
    for name in ["ann", "bob"] {
        app.user(&root, name, &[]).await;
    }
    for event in ["ROLE_ASSIGN", "ROLE_REVOKE"] {
        for phase in ["PRE", "POST"] {
            let event = format!("{phase}_{event}");
            let slug = event.to_lowercase().replace('_', "-");
            agrees(&app, &root, &event, &slug).await;
        }
    }
    let body = json!({"roles": ["viewer", "user-management:developer"],
        "usernames": ["ann", "bob"], "expires_at": "2031-01-01T00:00:00Z"});
    assign(&app, &root, &body).await.ok();
    let (ann, bob) = (
        look(&app, &root, "ann").await.0,
        look(&app, &root, "bob").await.0,
    );
    let users = json!([{"id": ann, "username": "ann"}, {"id": bob, "username": "bob"}]);
    let assigned = json!({"roles": ["viewer", "user-management:developer"], "users": users,
        "expires_at": "2031-01-01T00:00:00.000000Z"});
    for slug in ["pre-role-assign", "post-role-assign"] {
        assert_eq!(given(&app, &root, slug).await, assigned, "{slug}");
    }
    let body = json!({"roles": ["viewer"], "usernames": ["ann"]});
    revoke(&app, &root, &body).await.ok();
    let revoked = json!({"roles": ["viewer"], "users": [{"id": ann, "username": "ann"}]});
    for slug in ["pre-role-revoke", "post-role-revoke"] {
        assert_eq!(given(&app, &root, slug).await, revoked, "{slug}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_refused_before_anybody_is_asked() {
    let (app, root) = world().await;
    app.user(&root, "ann", &[]).await;
    for event in ["PRE_ROLE_ASSIGN", "PRE_ROLE_REVOKE"] {
        let slug = event.to_lowercase().replace('_', "-");
        agrees(&app, &root, event, &slug).await;
    }
    for body in [
        json!({"roles": ["emperor"], "usernames": ["ann"]}),
        json!({"roles": ["nowhere:viewer"], "usernames": ["ann"]}),
        json!({"roles": ["viewer"], "usernames": ["nobody"]}),
        json!({"roles": [], "usernames": ["ann"]}),
    ] {
        let answer = assign(&app, &root, &body).await;
        answer.is_error(400, "VALIDATION_ERROR");
        let answer = revoke(&app, &root, &body).await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
    assert!(app.fake.calls().is_empty());
}

/// Ann gives or takes a role, and loses her right, or the target is gone, while a function is asked.
async fn meanwhile(gives: bool, target_goes: bool) {
    let (app, root) = world().await;
    let ann = app.user(&root, "ann", &["admin"]).await;
    app.user(&root, "target", &["viewer"]).await;
    let id = app.function(&root, "Look").await;
    let (event, method, path) = match gives {
        true => ("PRE_ROLE_ASSIGN", "POST", ASSIGN),
        false => ("PRE_ROLE_REVOKE", "DELETE", REVOKE),
    };
    let subscribe = format!("/api/cloud/events/{event}/subscribe/");
    let filter = "event.params.users[0].username == 'target'";
    let body = json!({"function_id": id, "filter": filter});
    app.post(&subscribe, &body).bearer(&root).send().await.ok();
    let role = if gives { "developer" } else { "viewer" };
    let body = json!({"roles": [role], "usernames": ["target"]});
    let pending = tokio::spawn(app.ask(method, path).json(&body).bearer(&ann).send());
    app.gate.entered().await;
    if target_goes {
        let gone = app.ask("DELETE", "/api/users/target/").bearer(&root);
        gone.send().await.ok();
    } else {
        let body = json!({"roles": ["admin"], "usernames": ["ann"]});
        revoke(&app, &root, &body).await.ok();
    }
    app.gate.let_go(1);
    let answer = pending.await.unwrap();
    if target_goes {
        answer.is_error(400, "VALIDATION_ERROR");
    } else {
        answer.is_error(403, "FORBIDDEN");
        let (_, roles) = look(&app, &root, "target").await;
        assert_eq!(roles, json!(["viewer"]), "{event}");
    }
    // It did run, and is on record.
    let run = &super::ended(&app, &root, "look", 1).await[0];
    assert_eq!(run["state"], "succeeded", "{run}");
    assert_eq!(run["verdict"]["kind"], "allowed", "{run}");
}

#[tokio::test]
async fn rights_and_accounts_are_looked_at_again_when_functions_have_agreed() {
    for gives in [true, false] {
        for target_goes in [true, false] {
            meanwhile(gives, target_goes).await;
        }
    }
}

/// Names lead to other accounts by the time at which functions have agreed.
#[tokio::test]
async fn a_role_goes_to_the_account_that_functions_saw() {
    let (app, root) = world().await;
    for name in ["victim", "mallory"] {
        app.user(&root, name, &[]).await;
    }
    let (seen, _) = look(&app, &root, "victim").await;
    let id = app.function(&root, "Look").await;
    app.subscribe(&root, "PRE_ROLE_ASSIGN", id).await;
    agrees(&app, &root, "POST_ROLE_ASSIGN", "done").await;
    let body = json!({"roles": ["viewer"], "usernames": ["victim"]});
    let pending = tokio::spawn(app.ask("POST", ASSIGN).json(&body).bearer(&root).send());
    app.gate.entered().await;
    for (from, to) in [("victim", "victim2"), ("mallory", "victim")] {
        let path = format!("/api/users/{from}/");
        let renamed = app.ask("PATCH", &path).json(&json!({"username": to}));
        renamed.bearer(&root).send().await.ok();
    }
    app.gate.let_go(1);
    pending.await.unwrap().ok();
    assert_eq!(
        look(&app, &root, "victim2").await,
        (seen.clone(), json!(["viewer"]))
    );
    assert_eq!(look(&app, &root, "victim").await.1, json!([]));
    let told = given(&app, &root, "done").await;
    let users = json!([{"id": seen, "username": "victim2"}]);
    assert_eq!(told["users"], users, "as it is called by now");
}
