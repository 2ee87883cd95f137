//! What functions may do: what they declare, as far as whoever they act for holds it at that moment.

use crate::app::{Answer, PASSWORD, TestApp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tollgate_core::tasks::State;

const FUNCTIONS: &str = "/api/apps/user-management/functions/";
const EXECUTE_ASK: &str = "/api/apps/user-management/functions/ask/execute/";

async fn app_with(names: &[&str]) -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in names {
        app.function(&root, name).await;
    }
    (app, root)
}

/// What `sdk_client` answers in the function `ask`.
async fn ask(app: &TestApp, token: &str, method: &str, args: &Value) -> Result<Value, String> {
    let body = json!({"params": {"method": method, "args": args}});
    told(app.post(EXECUTE_ASK, &body).bearer(token).send().await)
}

fn told(answer: Answer) -> Result<Value, String> {
    match answer.status {
        200 => Ok(answer.body["data"].clone()),
        _ => Err(answer.is_error(400, "FUNCTION_FAILED").to_owned()),
    }
}

async fn permit(app: &TestApp, root: &str, slug: &str, permissions: &[&str]) {
    let body = json!({"permissions": permissions, "permissions_scope": "site"});
    app.change(root, slug, &body).await.ok();
}

async fn assign(app: &TestApp, root: &str, method: &str, role: &str, username: &str) {
    let path = if method == "POST" {
        "/api/assign/roles/"
    } else {
        "/api/revoke/roles/"
    };
    let body = json!({"roles": [role], "usernames": [username]});
    app.ask(method, path)
        .json(&body)
        .bearer(root)
        .send()
        .await
        .ok();
}

/// One method of `sdk_client`: its arguments, and the permission that it takes; none for what every
/// function may.
type Row = (&'static str, Value, Option<&'static str>);

fn rows(elsewhere: &Value) -> Vec<Row> {
    let (task, id) = (&elsewhere["task_id"], &elsewhere["id"]);
    let ours = json!({"app_slug": "user-management", "function_slug": "check-email-domain"});
    let theirs = json!({"app_slug": "other", "function_slug": "check-email-domain"});
    let user = |name: &str| json!({"username": name});
    let data =
        |name: &str| json!({"data": {"username": name, "email": format!("{name}@a.example")}});
    let roles = |name: &str| json!({"roles": ["other:viewer"], "usernames": [name]});
    vec![
        ("auth.get_current_user", json!({}), None),
        ("users.get", user("target"), Some("users.read")),
        ("users.apps", user("target"), Some("users.read")),
        ("users.list", json!({}), Some("users.read")),
        ("users.create", data("new"), Some("users.manage")),
        (
            "users.update",
            json!({"username": "target", "data": {"first_name": "T"}}),
            Some("users.manage"),
        ),
        ("users.delete", user("spare"), Some("users.manage")),
        ("users.assign_roles", roles("target"), Some("roles.assign")),
        ("users.revoke_roles", roles("other"), Some("roles.assign")),
        ("functions.execute", ours.clone(), None),
        (
            "functions.execute",
            theirs.clone(),
            Some("functions.execute"),
        ),
        ("functions.get", ours, None),
        ("functions.get", theirs, Some("functions.read")),
        (
            "functions.list",
            json!({"app_slug": "user-management"}),
            None,
        ),
        (
            "functions.list",
            json!({"app_slug": "other"}),
            Some("functions.read"),
        ),
        (
            "functions.get_result",
            json!({"task_id": task}),
            Some("invocations.read"),
        ),
        (
            "functions.get_invocation",
            json!({"invocation_id": id}),
            Some("invocations.read"),
        ),
        ("functions.list_invocations", json!({}), None),
        ("app.roles", json!({"app_slug": "user-management"}), None),
        (
            "app.roles",
            json!({"app_slug": "other"}),
            Some("functions.read"),
        ),
        ("secrets.get", json!({"key": "OWN"}), None),
        ("secrets.list", json!({}), None),
        ("events.publish", json!({"name": "POST_ORDER_PLACED"}), None),
    ]
}

/// The methods that the server answers, as its own source names them.
fn methods() -> BTreeSet<String> {
    let sources = [
        include_str!("../../src/host/mod.rs"),
        include_str!("../../src/host/secrets.rs"),
        include_str!("../../src/host/events.rs"),
    ];
    let arms = sources.iter().flat_map(|source| source.lines());
    let arms = arms.filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once('"')?;
        (rest.trim_start().starts_with("=>") && name.contains('.')).then(|| name.to_owned())
    });
    arms.collect()
}

#[tokio::test]
async fn every_method_takes_the_functions_permission_and_its_callers_right() {
    let (app, root) = app_with(&["Ask", "Check Email Domain"]).await;
    let other = json!({"name": "Other"});
    app.post("/api/apps/", &other)
        .bearer(&root)
        .send()
        .await
        .ok();
    let body = json!({"name": "Check Email Domain", "execution_mode": "system"});
    let theirs = app.post("/api/apps/other/functions/", &body).bearer(&root);
    theirs.send().await.ok();
    let path = "/api/apps/other/functions/check-email-domain/execute/";
    let ran = app.post(path, &json!({})).bearer(&root).send().await.ok();
    let body = json!({"key": "OWN", "value": "v"});
    let secret = app.post("/api/secrets/?app=user-management", &body);
    secret.bearer(&root).send().await.ok();
    let own =
        json!({"name": "POST_ORDER_PLACED", "params_schema": {"type": "object"}, "sample": {}});
    let declared = app.post("/api/apps/user-management/event-types/", &own);
    declared.bearer(&root).send().await.ok();
    for username in ["target", "spare", "other"] {
        app.user(&root, username, &[]).await;
    }
    // May execute, and holds none of what the rows take.
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;

    let rows = rows(&ran["invocation"]);
    let named: BTreeSet<_> = rows.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(
        named,
        methods(),
        "every method has a row, and only methods have"
    );
    for (method, args, permission) in &rows {
        let refused = |said: &Result<Value, String>, what: &str| {
            let error = said.as_ref().expect_err(&format!("{method} {args} {what}"));
            let hidden = error.starts_with("NOT_FOUND");
            assert!(
                hidden || error.starts_with("FORBIDDEN"),
                "{method} {what}: {error}"
            );
        };
        permit(&app, &root, "ask", &[]).await;
        let without = ask(&app, &root, method, args).await;
        let Some(permission) = permission else {
            without.unwrap_or_else(|error| panic!("{method} without: {error}"));
            continue;
        };
        refused(&without, "without its permission");
        // All others do not make up for it.
        let all = all_permissions();
        let others = all.iter().map(String::as_str).filter(|it| it != permission);
        // Who may change users sees whom.
        let both = ["users.read", "users.manage"];
        let others = others.filter(|it| *permission != both[0] || *it != both[1]);
        let others: Vec<_> = others.collect();
        permit(&app, &root, "ask", &others).await;
        refused(
            &ask(&app, &root, method, args).await,
            "with all other permissions",
        );
        permit(&app, &root, "ask", &[permission]).await;
        refused(
            &ask(&app, &dev, method, args).await,
            "for a caller without the right",
        );
        let with = ask(&app, &root, method, args).await;
        with.unwrap_or_else(|error| panic!("{method} with {permission}: {error}"));
    }
}

fn all_permissions() -> Vec<String> {
    use tollgate_core::rights::Permission;
    Permission::ALL.map(|it| it.as_str().to_owned()).into()
}

/// Fails when nothing but the declaration keeps roles out of a function's reach and that is not asked.
#[tokio::test]
async fn a_function_assigns_roles_only_if_it_declares_that() {
    let (app, root) = app_with(&["Ask"]).await;
    app.user(&root, "bob", &[]).await;
    let args = json!({"roles": ["user-management:developer"], "usernames": ["bob"]});
    for permissions in [&[][..], &["users.manage", "users.read"]] {
        permit(&app, &root, "ask", permissions).await;
        let refused = ask(&app, &root, "users.assign_roles", &args)
            .await
            .unwrap_err();
        assert!(
            refused.contains("has not declared the permission 'roles.assign'"),
            "{refused}"
        );
    }
    let bob = app.get("/api/users/bob/").bearer(&root).send().await.ok();
    assert_eq!(bob["data"]["roles"], json!([]));
    permit(&app, &root, "ask", &["roles.assign"]).await;
    ask(&app, &root, "users.assign_roles", &args).await.unwrap();
    // Now bob holds rights that the function does not.
    let more = ask(&app, &root, "users.revoke_roles", &args)
        .await
        .unwrap_err();
    assert!(more.contains("the account has the role"), "{more}");
    // Never is_staff, and no password of an account that exists.
    let all = all_permissions();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    permit(&app, &root, "ask", &all).await;
    for data in [
        json!({"is_staff": true}),
        json!({"password": "another good one"}),
    ] {
        let args = json!({"username": "bob", "data": data});
        let refused = ask(&app, &root, "users.update", &args).await.unwrap_err();
        assert!(refused.starts_with("FORBIDDEN No function"), "{refused}");
    }
}

/// What the run of `look` is allowed, by whichever way it was caused, once `root` has taken ann's right.
async fn seen_after(cause: &str, change: &str) -> Value {
    let (app, root) = app_with(&["Look"]).await;
    permit(&app, &root, "look", &["users.read"]).await;
    app.user(&root, "target", &[]).await;
    let ann = app.user(&root, "ann", &["admin"]).await;
    let look = format!("{FUNCTIONS}look/execute/");
    if cause == "replay" {
        app.gate.let_go(1);
        app.post(&look, &json!({})).bearer(&ann).send().await.ok();
        app.gate.entered().await;
    }
    let event = match cause {
        "pre" => Some("PRE_USER_CREATE"),
        "post" => Some("POST_USER_CREATE"),
        _ => None,
    };
    if let Some(event) = event {
        app.subscribe(&root, event, 1).await;
    }
    let new = json!({"username": "new", "email": "new@example.com"});
    let asking = match cause {
        "sync" => app.post(&look, &json!({})),
        "queued" => app.post(&look, &json!({"async": true})),
        "replay" => app.post("/api/invocations/1/replay/", &json!({})),
        _ => app.post("/api/users/", &new),
    };
    let mut changes = app.platform.invocations.watch();
    let caused = tokio::spawn(asking.bearer(&ann).send());
    app.gate.entered().await;
    match change {
        "role" => assign(&app, &root, "DELETE", "admin", "ann").await,
        "inactive" => {
            let asking = app
                .ask("PATCH", "/api/users/ann/")
                .json(&json!({"is_active": false}));
            asking.bearer(&root).send().await.ok();
        }
        "deleted" => {
            app.ask("DELETE", "/api/users/ann/")
                .bearer(&root)
                .send()
                .await
                .ok();
        }
        _ => {}
    }
    app.gate.let_go(1);
    let answer = caused.await.unwrap();
    // What was caused by a change is not saved then, and has run all the same.
    match (cause, change) {
        ("pre", "role") => drop(answer.is_error(403, "FORBIDDEN").to_owned()),
        ("pre", "inactive" | "deleted") => drop(answer.is_error(401, "UNAUTHORIZED").to_owned()),
        _ => drop(answer.ok()),
    }
    while !changes.recv().await.unwrap().state.is_final() {}
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    let result = list["data"][0]["task_result"]["result"].clone();
    assert_eq!(result["who"], "ann", "{cause}: {list}");
    result["said"].clone()
}

#[tokio::test]
async fn a_right_that_ends_is_gone_from_a_run_under_way() {
    for cause in ["sync", "queued", "pre", "post", "replay"] {
        assert_eq!(seen_after(cause, "nothing").await, "seen", "{cause}");
        assert_eq!(seen_after(cause, "role").await, "NOT_FOUND", "{cause}");
    }
    for change in ["inactive", "deleted"] {
        assert_eq!(
            seen_after("queued", change).await,
            "UNAUTHORIZED",
            "{change}"
        );
        assert_eq!(seen_after("pre", change).await, "UNAUTHORIZED", "{change}");
    }
}

/// A permission that is taken from the function counts at once as well.
#[tokio::test]
async fn a_permission_that_ends_is_gone_from_a_run_under_way() {
    let (app, root) = app_with(&["Look"]).await;
    permit(&app, &root, "look", &["users.read"]).await;
    app.user(&root, "target", &[]).await;
    let look = app.post(&format!("{FUNCTIONS}look/execute/"), &json!({}));
    let looking = tokio::spawn(look.bearer(&root).send());
    app.gate.entered().await;
    permit(&app, &root, "look", &[]).await;
    app.gate.let_go(1);
    let answer = looking.await.unwrap().ok();
    assert_eq!(answer["data"]["said"], "NOT_FOUND");
}

#[tokio::test]
async fn who_sets_permissions_must_hold_them() {
    let (app, root) = app_with(&["Ask"]).await;
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    let admin = app.user(&root, "boss", &["admin"]).await;
    let code = json!({"name": "Own", "code": "def main(params): return 1",
        "permissions": ["functions.deploy", "invocations.read", "functions.deploy"]});
    let created = app.post(FUNCTIONS, &code).bearer(&dev).send().await.ok();
    assert_eq!(
        created["permissions"],
        json!(["functions.deploy", "invocations.read"])
    );
    assert_eq!(created["permissions_scope"], "app");
    assert_eq!(created["acts_as"], "caller");
    assert_eq!(created["permissions_granted_by"]["username"], "dev");
    assert!(created["permissions_granted_at"].is_string());
    for (body, missing) in [
        (json!({"permissions": ["users.manage"]}), "users.manage"),
        (
            json!({"permissions": ["invocations.read", "roles.assign", "users.read"]}),
            "users.read, roles.assign",
        ),
        (
            json!({"permissions_scope": "site"}),
            "functions.deploy, invocations.read in the whole site",
        ),
    ] {
        let refused = app.change(&dev, "own", &body).await;
        let message = refused.is_error(403, "FORBIDDEN");
        assert!(
            message.ends_with(&format!("you lack {missing}")),
            "{message}"
        );
        let new = json!({"name": "New", "code": "def main(params): return 1",
            "permissions": ["functions.deploy", "invocations.read"]});
        let mut new = new;
        for (key, value) in body.as_object().unwrap() {
            new[key] = value.clone();
        }
        let refused = app.post(FUNCTIONS, &new).bearer(&dev).send().await;
        refused.is_error(403, "FORBIDDEN");
    }
    let body = json!({"permissions": ["user.manage", "x", 1]});
    assert_eq!(app.change(&root, "own", &body).await.status, 400);
    let body = json!({"permissions": ["user.manage"]});
    let unknown = app.change(&root, "own", &body).await;
    let message = unknown.is_error(400, "VALIDATION_ERROR");
    assert!(
        message.contains("did you mean 'users.manage'?"),
        "{message}"
    );
    let body = json!({"permissions": ["users.manage"]});
    let changed = app.change(&admin, "own", &body).await.ok();
    assert_eq!(changed["permissions_granted_by"]["username"], "boss");
    // The same again grants nothing anew.
    let again = app.change(&root, "own", &body).await.ok();
    assert_eq!(again["permissions_granted_by"]["username"], "boss");
}

#[tokio::test]
async fn what_runs_with_permissions_is_changed_by_those_who_hold_them() {
    let (app, root) = app_with(&[]).await;
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    let body = json!({"name": "Own", "code": "def main(params): return 1"});
    app.post(FUNCTIONS, &body).bearer(&dev).send().await.ok();
    let code = |n: u8| json!({"code": format!("def main(params): return {n}")});
    app.change(&dev, "own", &code(2)).await.ok();
    permit(&app, &root, "own", &["users.manage"]).await;
    let refused = |answer: Answer| {
        let message = answer.is_error(403, "FORBIDDEN");
        assert!(message.contains("you lack"), "{message}");
        assert!(message.contains("users.manage"), "{message}");
    };
    for body in [
        code(3),
        json!({"name": "Renamed"}),
        json!({"network": "egress"}),
        json!({"is_public": true}),
        json!({"acts_as": "function"}),
        json!({"permissions": ["users.manage", "users.read"], "acts_as": "function"}),
        json!({"description": "harmless", "name": "not"}),
        json!({"permissions": ["users.manage"], "code": "def main(params): return 3"}),
    ] {
        refused(app.change(&dev, "own", &body).await);
    }
    let activate = format!("{FUNCTIONS}own/versions/1/activate/");
    refused(app.post(&activate, &json!({})).bearer(&dev).send().await);
    // No version was left behind by what was refused.
    let versions = format!("{FUNCTIONS}own/versions/");
    let versions = app.get(&versions).bearer(&root).send().await.ok();
    assert_eq!(versions["total"], 2);
    for body in [
        json!({"description": "harmless", "timeout_seconds": 3, "max_attempts": 2,
            "memory_mb": 64, "max_concurrency": 1, "async_mode": true,
            "filter_conditions": "true", "rate_limit": "5/m"}),
        json!({"rate_limit": "6/m"}),
        json!({"rate_limit": null}),
        json!({"is_active": false}),
        json!({"is_active": true}),
        json!({"permissions": ["users.manage"]}),
        json!({"is_public": false}),
        json!({}),
    ] {
        app.change(&dev, "own", &body).await.ok();
    }
    app.subscribe(&dev, "POST_USER_CREATE", 1).await;
    let boss = app.user(&root, "boss", &["admin"]).await;
    app.change(&boss, "own", &code(4)).await.ok();
    let back = app.post(&activate, &json!({})).bearer(&boss).send().await;
    assert_eq!(back.ok()["version"], 1);
    // Without permissions it is anybody's who deploys, and nothing is inherited by a slug.
    let body = json!({"permissions": [], "code": "def main(params): return 5"});
    app.change(&dev, "own", &body).await.ok();
    permit(&app, &root, "own", &["users.manage"]).await;
    let path = format!("{FUNCTIONS}own/");
    app.ask("DELETE", &path).bearer(&dev).send().await.ok();
    let body = json!({"name": "Own", "code": "def main(params): return 1"});
    let again = app.post(FUNCTIONS, &body).bearer(&dev).send().await.ok();
    assert_eq!(again["permissions"], json!([]));
}

/// Permissions that were declared for what is active are not for what was active before.
#[tokio::test]
async fn an_old_version_has_none_of_the_permissions_that_came_later() {
    let (app, root) = app_with(&["Ask"]).await;
    let body = json!({"params": {"method": "users.list", "args": {}}});
    let answer = app.post(EXECUTE_ASK, &body).bearer(&root).send().await;
    let failed = answer.body["data"]["invocation"]["id"].clone();
    // The same code as another version: a system function has only one, so that it is stored here.
    let function = tollgate_core::ids::FunctionId(1);
    app.new_version_of(function).await;
    app.clock.advance(std::time::Duration::from_secs(1));
    permit(&app, &root, "ask", &["users.read"]).await;
    let path = format!("/api/invocations/{failed}/replay/");
    let replay = async |version: &str| {
        let body = json!({"version": version});
        told(app.post(&path, &body).bearer(&root).send().await)
    };
    replay("active").await.unwrap();
    let refused = replay("own").await.unwrap_err();
    assert!(refused.contains("was never active since"), "{refused}");
}

#[tokio::test]
async fn an_account_with_rights_is_out_of_a_functions_reach() {
    let (app, root) = app_with(&["Ask"]).await;
    app.user(&root, "vera", &["user-management:viewer"]).await;
    app.user(&root, "stan", &[]).await;
    let staff = app
        .ask("PATCH", "/api/users/stan/")
        .json(&json!({"is_staff": true}));
    staff.bearer(&root).send().await.ok();
    permit(
        &app,
        &root,
        "ask",
        &["users.manage", "users.read", "roles.assign"],
    )
    .await;
    for who in ["root", "stan", "vera"] {
        let roles = json!({"roles": ["user-management:viewer"], "usernames": [who]});
        for (method, args) in [
            (
                "users.update",
                json!({"username": who, "data": {"email": "evil@example.com"}}),
            ),
            (
                "users.update",
                json!({"username": who, "data": {"is_active": false}}),
            ),
            (
                "users.update",
                json!({"username": who, "data": {"attributes": {"a": 1}}}),
            ),
            (
                "users.update",
                json!({"username": who, "data": {"password": "good enough 1"}}),
            ),
            ("users.delete", json!({"username": who})),
            ("users.assign_roles", roles.clone()),
            ("users.revoke_roles", roles),
        ] {
            let said = ask(&app, &root, method, &args).await.unwrap_err();
            let own = who == "root" && method == "users.delete";
            let start = if own { "BAD_REQUEST" } else { "FORBIDDEN" };
            assert!(said.starts_with(start), "{method} {who}: {said}");
        }
    }
    // It holds what a viewer's role gives: that account is in reach.
    let cover = [
        "users.manage",
        "users.read",
        "functions.read",
        "invocations.read",
    ];
    permit(&app, &root, "ask", &cover).await;
    let args = json!({"username": "vera", "data": {"first_name": "Vera"}});
    ask(&app, &root, "users.update", &args).await.unwrap();
    let all = all_permissions();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    permit(&app, &root, "ask", &all).await;
    let args = json!({"username": "root", "data": {"first_name": "R"}});
    let said = ask(&app, &root, "users.update", &args).await.unwrap_err();
    assert!(said.contains("superuser"), "{said}");
}

#[tokio::test]
async fn enrichment_changes_no_account_with_rights() {
    let (app, root) = app_with(&["Enrich"]).await;
    app.user(&root, "vera", &["user-management:viewer"]).await;
    app.user(&root, "plain", &[]).await;
    app.subscribe(&root, "PRE_USER_UPDATE", 1).await;
    app.subscribe(&root, "PRE_USER_CREATE", 1).await;
    let update = async |who: &str, body: Value| {
        let mut body = body;
        if who == "root" {
            // One's own address asks for it.
            body["current_password"] = json!(PASSWORD);
        }
        let asking = app.ask("PATCH", &format!("/api/users/{who}/")).json(&body);
        asking.bearer(&root).send().await
    };
    for who in ["root", "vera"] {
        let refused = update(who, json!({"email": format!("{who}@new.example")})).await;
        let message = refused.is_error(400, "PRE_EVENT_FAILED");
        assert!(message.contains("'first_name'"), "{message}");
        assert!(message.contains("the account"), "{message}");
        assert_eq!(refused.body["errors"][0]["kind"], "enrichment");
        // What the request itself changes is the request's business.
        let same = update(
            who,
            json!({"email": format!("{who}@new.example"),
            "first_name": "Enriched"}),
        )
        .await;
        assert_eq!(same.ok()["data"]["email"], format!("{who}@new.example"));
    }
    let plain = update("plain", json!({"last_name": "P"})).await.ok();
    assert_eq!(plain["data"]["first_name"], "Enriched");
    // An account that is about to hold rights.
    let new = json!({"username": "s", "email": "s@example.com", "is_staff": true});
    let refused = app.post("/api/users/", &new).bearer(&root).send().await;
    refused.is_error(400, "PRE_EVENT_FAILED");
    // A function that holds what the role gives.
    let cover = ["users.read", "functions.read", "invocations.read"];
    permit(&app, &root, "enrich", &cover).await;
    let body = json!({"first_name": "V"});
    assert_eq!(
        update("vera", body.clone()).await.ok()["data"]["first_name"],
        "Enriched"
    );
    assert_eq!(update("root", body).await.status, 400);
}

/// With whatever code: it has the rights of whoever asks, and is told who caused it.
#[tokio::test]
async fn redrive_and_replay_act_for_whoever_asks() {
    let (app, root) = app_with(&["Ask", "Look"]).await;
    app.user(&root, "target", &[]).await;
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    permit(&app, &root, "ask", &["users.read"]).await;
    let asked = json!({"method": "users.get", "args": {"username": "nobody"}});
    let letter = app.dead_letter(&root, "ask", &asked).await;
    let record = app
        .get(&format!("/api/invocations/{letter}/"))
        .bearer(&root);
    let record = record.send().await.ok();
    assert_eq!(record["acting_username"], "root");
    app.user(&root, "nobody", &[]).await;
    let mut changes = app.platform.invocations.watch();
    for (who, token, state) in [
        ("dev", &dev, State::Dead),
        ("root", &root, State::Succeeded),
    ] {
        for path in [format!("{letter}/redrive/"), "redrive/".to_owned()] {
            let many = path == "redrive/";
            if many && state == State::Succeeded {
                continue;
            }
            let body = if many {
                json!({"all": true})
            } else {
                json!({})
            };
            let redriven = app.post(&format!("/api/dead-letters/{path}"), &body);
            redriven.bearer(token).send().await.ok();
            while changes.recv().await.unwrap().state != state {}
            let record = app
                .get(&format!("/api/invocations/{letter}/"))
                .bearer(&root);
            let record = record.send().await.ok();
            assert_eq!(record["user_username"], "root", "{record}");
            assert_eq!(record["acting_username"], who, "{record}");
        }
    }
    // dev sees the letter that it redrove, and root's replay by dev is told who caused the first run.
    app.gate.let_go(9);
    permit(&app, &root, "look", &["users.read"]).await;
    let look = app.post(&format!("{FUNCTIONS}look/execute/"), &json!({}));
    let first = look.bearer(&root).send().await.ok();
    assert_eq!(first["data"], json!({"said": "seen", "who": "root"}));
    let path = format!("/api/invocations/{}/replay/", first["invocation"]["id"]);
    for queued in [false, true] {
        let replayed = app.post(&path, &json!({"async": queued})).bearer(&dev);
        let replayed = replayed.send().await.ok();
        let id = replayed["invocation"]["id"].clone();
        if queued {
            loop {
                let change = changes.recv().await.unwrap();
                if id == change.id.0 && change.state.is_final() {
                    break;
                }
            }
        }
        let record = app.get(&format!("/api/invocations/{id}/")).bearer(&root);
        let record = record.send().await.ok();
        let result = &record["task_result"]["result"];
        assert_eq!(
            *result,
            json!({"said": "NOT_FOUND", "who": "root"}),
            "{record}"
        );
        assert_eq!(record["user_username"], "root");
        assert_eq!(record["acting_username"], "dev");
    }
}

/// `acts_as: "function"`: what is declared counts alone, where nobody acts as well, and the record says so.
#[tokio::test]
async fn a_function_may_act_by_its_own_right() {
    let (app, root) = app_with(&["Ask", "Validate User Data"]).await;
    app.subscribe(&root, "PRE_USER_CREATE", 2).await;
    permit(&app, &root, "ask", &["users.manage"]).await;
    app.change(&root, "ask", &json!({"is_public": true}))
        .await
        .ok();
    let sign_up = async |name: &str| {
        let data = json!({"username": name, "email": format!("{name}@example.com"),
            "password": "correct horse"});
        let body = json!({"params": {"method": "users.create", "args": {"data": data}}});
        let path = "/api/public/apps/user-management/functions/ask/execute/";
        app.post(path, &body).send().await
    };
    sign_up("early").await.is_error(400, "FUNCTION_FAILED");
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    let error = list["data"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("Nobody who is signed in"), "{error}");
    app.change(&root, "ask", &json!({"acts_as": "function"}))
        .await
        .ok();
    assert_eq!(sign_up("eve").await.ok()["data"]["data"]["username"], "eve");
    app.sign_in("eve").await;
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    let runs = list["data"].as_array().unwrap();
    for run in &runs[..2] {
        assert_eq!(run["acting_function_slug"], "ask", "{run}");
        assert_eq!(run["acting_user_id"], json!(null), "{run}");
        assert_eq!(run["user_id"], json!(null), "{run}");
    }
    assert_eq!(runs[0]["function_slug"], "validate-user-data");
    // What it has not declared it may not, whoever calls it.
    let said = ask(&app, &root, "users.list", &json!({}))
        .await
        .unwrap_err();
    assert!(
        said.contains("has not declared the permission 'users.read'"),
        "{said}"
    );
    let me = ask(&app, &root, "auth.get_current_user", &json!({}))
        .await
        .unwrap();
    assert_eq!(me["data"]["username"], "root");
}

/// What a function calls has no more than the function has.
#[tokio::test]
async fn a_function_passes_on_no_more_than_it_has() {
    let (app, root) = app_with(&["Ask"]).await;
    let body = json!({"name": "Inner", "slug": "ask-inner", "execution_mode": "system"});
    app.post(FUNCTIONS, &body).bearer(&root).send().await.ok();
    permit(&app, &root, "ask-inner", &["users.read"]).await;
    let inner = json!({"app_slug": "user-management", "function_slug": "ask-inner",
        "params": {"method": "users.list", "args": {}}});
    let through = async || ask(&app, &root, "functions.execute", &inner).await;
    let refused = through().await.unwrap_err();
    assert!(
        refused.contains("Function 'ask' has not declared"),
        "{refused}"
    );
    permit(&app, &root, "ask", &["users.read"]).await;
    through().await.unwrap();
    permit(&app, &root, "ask", &[]).await;
    app.change(&root, "ask-inner", &json!({"acts_as": "function"}))
        .await
        .ok();
    through().await.unwrap();
}

/// They change what runs as code does: a function's own, and those of its app that it has.
#[tokio::test]
async fn variables_of_what_has_permissions_are_changed_by_who_holds_these() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in ["Ask", "Plain"] {
        let body = json!({"name": name, "code": "def main(p): return 1"});
        app.post(FUNCTIONS, &body).bearer(&root).send().await.ok();
    }
    permit(&app, &root, "ask", &["users.manage"]).await;
    let dev = app.user(&root, "dev", &["user-management:developer"]).await;
    let boss = app.user(&root, "boss", &["user-management:admin"]).await;
    let of_app = async |token: &str, env: Value| {
        let asking = app.ask("PATCH", "/api/apps/user-management/");
        asking.json(&json!({"env": env})).bearer(token).send().await
    };
    let env = json!({"env": {"TARGET": "https://evil.example"}});
    let refused = app.change(&dev, "ask", &env).await;
    let message = refused.is_error(403, "FORBIDDEN").to_owned();
    assert!(message.contains("users.manage"), "{message}");
    app.change(&dev, "plain", &env).await.ok();
    let refused = of_app(&boss, json!({"TARGET": "x"})).await;
    refused.is_error(403, "FORBIDDEN");
    // What it hides it does not have.
    app.change(&root, "ask", &env).await.ok();
    of_app(&boss, json!({"TARGET": "x"})).await.ok();
    of_app(&boss, json!({"OTHER": "x"}))
        .await
        .is_error(403, "FORBIDDEN");
    of_app(&root, json!({"OTHER": "x"})).await.ok();
    // They are shown to those who may look at functions.
    let someone = app.user(&root, "someone", &[]).await;
    for (token, shown) in [(&someone, json!({})), (&dev, json!({"OTHER": "x"}))] {
        let one = app.get("/api/apps/user-management/").bearer(token);
        assert_eq!(one.send().await.ok()["data"]["env"], shown);
        let list = app.get("/api/apps/").bearer(token).send().await.ok();
        assert_eq!(list["data"][0]["env"], shown, "{list}");
    }
}
