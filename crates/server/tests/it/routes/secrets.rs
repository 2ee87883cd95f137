//! `/api/secrets/` and `/api/secrets/{key}/`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::{Value, json};

const SITE: &str = "/api/secrets/";
const APP: &str = "/api/secrets/?app=user-management";

async fn set(app: &TestApp, token: &str, path: &str, key: &str, value: &str) {
    let body = json!({"key": key, "value": value});
    app.post(path, &body).bearer(token).send().await.ok();
}

async fn get(app: &TestApp, token: &str, path: &str) -> Value {
    app.get(path).bearer(token).send().await.ok()["data"].clone()
}

/// Nothing in any file of the store.
fn assert_sealed(app: &TestApp, canary: &str) {
    for file in app.files() {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes
            .windows(canary.len())
            .any(|it| it == canary.as_bytes());
        assert!(!found, "{canary} stands in {}", file.display());
    }
}

#[tokio::test]
async fn a_secret_lives_and_ends() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"key": "STRIPE", "value": "sk_live_canary_1", "tags": ["payment", "live"],
        "secret_type": "api_key", "description": "Charges"});
    let created = app.post(APP, &body).bearer(&root).send().await;
    assert_eq!(created.status, 201);
    assert_answer!(created);
    let path = "/api/secrets/STRIPE/?app=user-management";
    assert_answer!(app.get(path).bearer(&root).send().await);
    let body = json!({"value": {"id": "a", "key": "sk_live_canary_2"}});
    let changed = app.ask("PUT", path).json(&body).bearer(&root).send().await;
    assert!(
        !changed.body.to_string().contains("canary"),
        "{}",
        changed.body
    );
    let got = get(&app, &root, path).await;
    assert_eq!(got["value"], body["value"]);
    assert_eq!(got["tags"], json!(["payment", "live"]));
    assert_sealed(&app, "sk_live_canary");
    app.ask("DELETE", path).bearer(&root).send().await.ok();
    for method in ["GET", "DELETE"] {
        let gone = app.ask(method, path).bearer(&root).send().await;
        assert_eq!(gone.is_error(404, "NOT_FOUND"), "Secret 'STRIPE' not found");
    }
}

#[tokio::test]
async fn an_apps_own_secret_hides_the_sites() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for (key, value) in [("A", "of the site"), ("B", "shared"), ("C", "of all")] {
        set(&app, &root, SITE, key, value).await;
    }
    set(&app, &root, APP, "B", "the app's own").await;
    let value = async |path: &str| get(&app, &root, path).await["value"].clone();
    assert_eq!(
        value("/api/secrets/A/?app=user-management").await,
        "of the site"
    );
    assert_eq!(
        value("/api/secrets/B/?app=user-management").await,
        "the app's own"
    );
    assert_eq!(value("/api/secrets/B/").await, "shared");
    assert_answer!(app.get(APP).bearer(&root).send().await);
    let list = app.get(SITE).bearer(&root).send().await.ok();
    assert_eq!(list["total"], 3, "{list}");
    // A change in the app never reaches the site's.
    let path = "/api/secrets/A/?app=user-management";
    for asking in [
        app.ask("PUT", path).json(&json!({})),
        app.ask("DELETE", path),
    ] {
        asking.bearer(&root).send().await.is_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_show_values_only_by_key() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for (key, kind, tags) in [
        ("STRIPE_KEY", "api_key", json!(["payment", "live"])),
        ("STRIPE_TEST", "api_key", json!(["payment"])),
        ("DB", "database", json!(["live"])),
    ] {
        let body = json!({"key": key, "value": "hidden-value", "secret_type": kind, "tags": tags});
        app.post(SITE, &body).bearer(&root).send().await.ok();
    }
    for (query, keys) in [
        ("", &["DB", "STRIPE_KEY", "STRIPE_TEST"][..]),
        ("search=stripe", &["STRIPE_KEY", "STRIPE_TEST"]),
        ("tags=payment,live", &["STRIPE_KEY"]),
        ("secret_type=database&include_metadata=false", &["DB"]),
        ("page=2&page_size=2", &["STRIPE_TEST"]),
        ("keys=DB,STRIPE_KEY,NONE", &["DB", "STRIPE_KEY"]),
    ] {
        let path = format!("/api/secrets/?{query}");
        let list = app.get(&path).bearer(&root).send().await.ok();
        let found: Vec<_> = list["data"].as_array().unwrap().iter().collect();
        let names: Vec<_> = found.iter().map(|it| it["key"].as_str().unwrap()).collect();
        assert_eq!(names, keys, "{query}");
        let shown = list.to_string().contains("hidden-value");
        assert_eq!(shown, query.starts_with("keys="), "{query}: {list}");
    }
    let path = "/api/secrets/STRIPE_TEST/?tags=payment";
    app.get(path).bearer(&root).send().await.ok();
    let path = "/api/secrets/STRIPE_TEST/?tags=payment,live";
    app.get(path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    let many = vec!["K"; 51].join(",");
    let answer = app.get(&format!("/api/secrets/?keys={many}")).bearer(&root);
    answer.send().await.is_error(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_not_repeated() {
    let app = TestApp::new().await;
    let root = app.root().await;
    set(&app, &root, SITE, "TAKEN", "x").await;
    let long = "x".repeat(64 * 1024);
    for body in [
        json!({"key": "", "value": "v"}),
        json!({"key": "a/b", "value": "v"}),
        json!({"key": "..", "value": "v"}),
        json!({"key": "k".repeat(129), "value": "v"}),
        json!({"key": "K", "value": long}),
        json!({"key": "K", "value": "v", "tags": ["a,b"]}),
        json!({"key": "K", "value": "v", "tags": vec!["t"; 21]}),
        json!({"key": "K", "value": "v", "secret_type": "t".repeat(65)}),
    ] {
        let answer = app.post(SITE, &body).bearer(&root).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
    for body in [
        json!({"key": "K", "value": 1_234_567_890}),
        json!({"key": "K", "value": ["canary-value"]}),
        json!({"key": "K"}),
        json!({"key": "K", "value": "canary-value", "more": 1}),
    ] {
        let answer = app.post(SITE, &body).bearer(&root).send().await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(
            !message.contains("canary") && !message.contains("1234567890"),
            "{message}"
        );
    }
    let taken = app.post(SITE, &json!({"key": "TAKEN", "value": "v"}));
    assert_answer!(taken.bearer(&root).send().await);
    let unknown = app.post("/api/secrets/?app=none", &json!({"key": "K", "value": "v"}));
    unknown
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_developer_reaches_the_own_apps_secrets_only() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let other = app
        .post("/api/apps/", &json!({"name": "Other"}))
        .bearer(&root);
    other.send().await.ok();
    set(&app, &root, "/api/secrets/?app=other", "THEIRS", "x").await;
    set(&app, &root, SITE, "SHARED", "for every app").await;
    let ann = app.user(&root, "ann", &["user-management:developer"]).await;
    set(&app, &ann, APP, "MINE", "y").await;
    let shared = get(&app, &ann, "/api/secrets/SHARED/?app=user-management").await;
    assert_eq!(shared["value"], "for every app");
    let missing = "/api/secrets/THEIRS/?app=user-management";
    app.get(missing)
        .bearer(&ann)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    for path in [
        "/api/secrets/THEIRS/?app=other",
        "/api/secrets/?app=other",
        "/api/secrets/SHARED/",
        "/api/secrets/",
    ] {
        app.get(path)
            .bearer(&ann)
            .send()
            .await
            .is_error(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn there_is_a_bound_for_each_app() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for number in 0..200 {
        set(&app, &root, APP, &format!("K{number}"), "v").await;
    }
    let body = json!({"key": "MORE", "value": "v"});
    let answer = app.post(APP, &body).bearer(&root).send().await;
    let message = answer.is_error(400, "VALIDATION_ERROR");
    assert!(message.contains("200 secrets"), "{message}");
    set(&app, &root, SITE, "MORE", "v").await;
}
