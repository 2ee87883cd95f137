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
            &["options.is_active", "options.prioritty"]),
        ("POST", "/api/assign/roles/", json!({"roles": ["a", 1], "usernames": "x", "expires_at": "soon"}),
            &["expires_at", "roles.1", "usernames"]),
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
