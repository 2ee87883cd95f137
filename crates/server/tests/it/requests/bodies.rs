//! Bodies and queries: every fault at once, each by its field.

use crate::app::{Answer, TestApp};
use serde_json::{Value, json};

fn fields(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().unwrap();
    let mut fields: Vec<_> = errors
        .iter()
        .map(|it| it["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn all_faults_of_a_body_are_told_at_once_and_never_in_serdes_words() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let functions = "/api/apps/user-management/functions/";
    let subscribe = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    #[rustfmt::skip]
    let cases: &[(&str, &str, Value, &[&str])] = &[
        ("POST", "/api/users/", json!({"usrname": "a", "email": 5, "is_active": "yes", "attributes": [1]}),
            &["attributes", "email", "is_active", "username", "usrname"]),
        ("PATCH", "/api/users/root/", json!({"is_staff": 1, "first_name": {}, "nope": 1}),
            &["first_name", "is_staff", "nope"]),
        ("POST", "/api/apps/", json!({"name": 1, "slug": [], "description": false}),
            &["description", "name", "slug"]),
        ("POST", functions, json!({"name": "x", "execution_mode": "porxy", "timeout_seconds": "5",
            "memory_mb": -1, "headers": {"a": 1}, "network": "all"}),
            &["execution_mode", "headers.a", "memory_mb", "network", "timeout_seconds"]),
        ("POST", subscribe, json!({"function_id": "1", "on_timeout": "maybe", "priority": 1.5}),
            &["function_id", "on_timeout", "priority"]),
        ("PATCH", subscribe, json!({"function_id": 1, "options": {"prioritty": 1, "is_active": null}}),
            &["function_id", "options.is_active", "options.prioritty"]),
        ("POST", "/api/assign/roles/", json!({"roles": ["a", 1], "usernames": "x", "expires_at": "soon"}),
            &["expires_at", "roles.0", "roles.1", "usernames"]),
        ("POST", "/api/secrets/", json!({"key": 1, "value": 2, "tags": [3]}), &["key", "tags.0", "value"]),
        ("POST", "/api/cloud/auth/api-keys/", json!({"expires_at": 5}), &["expires_at", "name"]),
        ("POST", "/api/dead-letters/redrive/", json!({"all": "yes", "limit": -1, "version": "old"}),
            &["all", "limit", "version"]),
        ("POST", "/api/auth/jwt/token/", json!({"username": 1, "pasword": "x"}),
            &["password", "pasword", "username"]),
    ];
    for (method, path, body, expected) in cases {
        let answer = app.ask(method, path).json(body).bearer(&root).send().await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(!message.is_empty());
        assert_eq!(
            fields(&answer),
            *expected,
            "{method} {path}: {}",
            answer.body
        );
        let text = answer.body.to_string();
        for word in [
            " line ",
            "invalid type",
            "expected a",
            "missing field",
            "unknown field",
        ] {
            assert!(!text.contains(word), "{text}");
        }
    }
    let answer = app
        .post("/api/users/", &json!({"usernam": "a"}))
        .bearer(&root)
        .send()
        .await;
    let text = answer.body.to_string();
    assert!(text.contains("Did you mean 'username'?"), "{text}");
}

/// A method, a path, a body with several faults, and the fields that are told.
type Case = (&'static str, &'static str, Value, &'static [&'static str]);

#[rustfmt::skip]
fn users_and_apps() -> Vec<Case> {
    vec![
        ("POST", "/api/users/", json!({"username": "a b", "email": "no", "is_active": "yes", "password": "x1",
            "attributes": {"n": 1}}), &["email", "is_active", "password", "username"]),
        ("POST", "/api/users/", json!({"username": "ann", "email": "no", "password": 5, "confirm_password": "x"}),
            &["email", "password"]),
        ("PATCH", "/api/users/root/", json!({"email": "no", "first_name": 5, "id": 99}),
            &["email", "first_name", "id"]),
        ("PUT", "/api/users/me/preferences/", json!({"x": "y".repeat(70_000), "n": null}), &["preferences"]),
        ("POST", "/api/apps/", json!({"name": "日本", "slug": 5}), &["slug"]),
        ("POST", "/api/apps/", json!({"name": " ", "slug": "No Slug", "description": 5}),
            &["description", "name", "slug"]),
        ("PATCH", "/api/apps/user-management/", json!({"name": "", "description": 5, "slug": "x"}),
            &["description", "name", "slug"]),
    ]
}

#[rustfmt::skip]
fn functions_and_events(function: i64) -> Vec<Case> {
    let functions = "/api/apps/user-management/functions/";
    let subscribe = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    vec![
        ("POST", functions, json!({"name": "", "code": "def main(:", "execution_mode": "porxy", "memory_mb": 1}),
            &["execution_mode", "memory_mb", "name"]),
        ("POST", functions, json!({"name": "x", "code": 5, "timeout_seconds": -1, "permissions": [5, "users.raed"],
            "filter_conditions": "1 +"}),
            &["code", "filter_conditions", "permissions.0", "permissions.1", "timeout_seconds"]),
        ("POST", functions, json!({"name": "x", "execution_mode": "proxy", "webhook_url": "ftp://x",
            "headers": {"a": 1}, "is_public": 1}), &["headers.a", "is_public", "webhook_url"]),
        ("PATCH", "/api/apps/user-management/functions/echo/", json!({"name": "", "code": "", "memory_mb": "x",
            "headers": {"a": null}, "rate_limit": "often", "version": 99}),
            &["code", "headers.a", "memory_mb", "name", "rate_limit", "version"]),
        ("POST", subscribe, json!({"function_id": "1", "filter": "1 +", "timeout_seconds": -1, "priority": "x"}),
            &["filter", "function_id", "priority", "timeout_seconds"]),
        ("POST", subscribe, json!({"function_id": 999, "filter": "1 +", "priority": "x"}),
            &["filter", "function_id", "priority"]),
        ("PATCH", subscribe, json!({"function_id": function, "priority": "x", "timeout_seconds": -1,
            "options": {"filter": "1 +", "closed": true}}),
            &["options.closed", "options.filter", "priority", "timeout_seconds"]),
        ("PATCH", subscribe, json!({"function_id": "x", "timeout_seconds": -1}), &["function_id", "timeout_seconds"]),
        ("POST", "/api/cloud/events/PRE_USER_CREATE/explain/", json!({"params": {"username": 5, "email": []},
            "caused_by": "x"}), &["caused_by", "params.email", "params.username"]),
    ]
}

#[rustfmt::skip]
fn everything_else() -> Vec<Case> {
    vec![
        ("POST", "/api/assign/roles/", json!({"roles": ["admin", 1, "nope"], "usernames": [5, "nobody"],
            "expires_at": "2001-01-01T00:00:00Z"}),
            &["expires_at", "roles.1", "roles.2", "usernames.0", "usernames.1"]),
        ("DELETE", "/api/revoke/roles/", json!({"roles": 5, "usernames": ["nobody"]}), &["roles", "usernames.0"]),
        ("POST", "/api/secrets/", json!({"key": "a b", "value": 2, "tags": [3, "a,b", "c"], "secret_type": 5}),
            &["key", "secret_type", "tags.0", "tags.1", "value"]),
        ("PATCH", "/api/secrets/A/", json!({"tags": [" x"], "value": 5, "key": "B"}), &["key", "tags.0", "value"]),
        ("POST", "/api/cloud/auth/api-keys/", json!({"name": "", "expires_at": 5}), &["expires_at", "name"]),
        ("POST", "/api/cloud/auth/api-keys/", json!({"name": 5, "expires_at": "2001-01-01T00:00:00Z"}),
            &["expires_at", "name"]),
        ("POST", "/api/dead-letters/redrive/", json!({"kind": "nope", "event": "nope", "limit": 0, "version": 1}),
            &["event", "kind", "limit", "version"]),
        ("POST", "/api/dead-letters/redrive/", json!({"app": 5, "limit": 0}), &["app", "limit"]),
        ("POST", "/api/apps/user-management/functions/echo/execute/", json!({"params": 5, "async": "yes"}),
            &["async", "params"]),
        ("POST", "/api/auth/jwt/token/", json!({"email": 1, "password": 5}), &["email", "password"]),
        ("POST", "/api/auth/jwt/token/", json!({"password": 5}), &["password", "username"]),
    ]
}

#[tokio::test]
async fn wrong_types_and_wrong_values_are_told_together_and_nothing_that_follows_from_them() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let function = app.function(&root, "Validate User Data").await;
    let echo = json!({"name": "Echo", "code": "def main(params):\n    return 1\n"});
    let asking = app.post("/api/apps/user-management/functions/", &echo);
    asking.bearer(&root).send().await.ok();
    app.subscribe(&root, "PRE_USER_CREATE", function).await;
    let secret = json!({"key": "A", "value": "x"});
    let asking = app.post("/api/secrets/", &secret).bearer(&root);
    asking.send().await.ok();
    let cases = [
        users_and_apps(),
        functions_and_events(function),
        everything_else(),
    ];
    for (method, path, body, expected) in cases.concat() {
        let answer = app.ask(method, path).json(&body).bearer(&root).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(
            fields(&answer),
            expected,
            "{method} {path}: {}",
            answer.body
        );
    }
    // Nothing of it was written.
    let user = app.get("/api/users/me/").bearer(&root).send().await.ok();
    assert_ne!(user["data"]["email"], "no");
    let users = app.get("/api/users/").bearer(&root).send().await.ok();
    assert_eq!(users["total"], 1);
}

/// Every body of the document with a wrong type in each of its fields, one at a time: whatever the
/// route does with drafts, it never takes one for good.
#[tokio::test]
async fn no_route_takes_a_body_with_a_wrong_type() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let function = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "PRE_USER_CREATE", function).await;
    let secret = json!({"key": "A", "value": "x"});
    let asking = app.post("/api/secrets/", &secret).bearer(&root);
    asking.send().await.ok();
    let own = json!({"name": "POST_OWN", "params_schema": {"type": "object"}, "sample": {}});
    let asking = app.post("/api/apps/user-management/event-types/", &own);
    asking.bearer(&root).send().await.ok();
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let mut bodies = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) else {
                continue;
            };
            let path = path
                .replace("{app_slug}", "user-management")
                .replace("{slug}", "validate-user-data")
                .replace("event-types/{event_name}", "event-types/POST_OWN")
                .replace("{event_name}", "PRE_USER_CREATE")
                .replace("{username}", "root")
                .replace("{key}", "A")
                .replace("{id}", "1");
            let fields = document["components"]["schemas"][name]["properties"].as_object();
            let writable = fields.unwrap().iter().filter(|it| it.1["readOnly"] != true);
            for (field, _) in writable {
                // No field takes an object that holds this, nor its text.
                let body = json!({field.clone(): [[{"wrong": true}]]});
                let method = method.to_uppercase();
                let asking = app.ask(&method, &path).json(&body).bearer(&root);
                let answer = asking.send().await;
                assert_eq!(
                    answer.status, 400,
                    "{method} {path} {field}: {}",
                    answer.body
                );
                let told = self::fields(&answer);
                let is_named = |it: &&str| it.split('.').next() == Some(field.as_str());
                assert!(
                    told.iter().any(is_named),
                    "{method} {path} {field}: {told:?}"
                );
                bodies += 1;
            }
        }
    }
    assert!(bodies > 150, "{bodies}");
}

#[tokio::test]
async fn unknown_query_parameters_are_refused_on_every_route_with_a_suggestion() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for (path, part) in [
        ("/api/users/?is_activ=false", "Did you mean 'is_active'?"),
        ("/api/users/?pagesize=5", "Did you mean 'page_size'?"),
        ("/api/users/me/?x=1", "none is taken here"),
        (
            "/api/cloud/users/?is_activ=false",
            "Did you mean 'is_active'?",
        ),
        ("/api/apps/?search=a", "There are: page"),
        ("/api/apps/user-management/?verbose", "none is taken here"),
        ("/api/invocations/?statsu=FAILURE", "Did you mean 'status'?"),
        ("/api/cloud/events/?x=", "none is taken here"),
        ("/api/secrets/?key=A", "Did you mean 'keys'?"),
    ] {
        let answer = app.get(path).bearer(&root).send().await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(message.contains(part), "{path}: {message}");
    }
    let body = json!({"name": "X"});
    let answer = app
        .post("/api/apps/?dry_run=true", &body)
        .bearer(&root)
        .send()
        .await;
    answer.is_error(400, "VALIDATION_ERROR");
    app.get("/api/apps/x/")
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    // Probes may carry what they like, and an empty query is none.
    assert_eq!(app.get("/healthz?from=lb").send().await.status, 200);
    app.get("/api/users/?").bearer(&root).send().await.ok();
}

#[tokio::test]
async fn bad_values_of_query_parameters_are_named() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for (path, field) in [
        ("/api/users/?is_active=maybe", "is_active"),
        ("/api/users/?page=0", "page"),
        ("/api/users/?page=x", "page"),
        ("/api/users/?page_size=1.5", "page_size"),
        ("/api/users/?page=1&page=2", "page"),
        ("/api/users/?ordering=shoe", "ordering"),
        ("/api/invocations/?has_error=2", "has_error"),
        ("/api/invocations/?status=GONE", "status"),
        (
            "/api/cloud/events/PRE_USER_CREATE/subscribe/?function_id=x",
            "function_id",
        ),
        (
            "/api/cloud/events/PRE_USER_CREATE/subscribe/",
            "function_id",
        ),
    ] {
        let answer = app.get(path).bearer(&root).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(fields(&answer), [field], "{path}: {}", answer.body);
    }
}
