//! `/api/apps/{app_slug}/functions/…`

use crate::app::TestApp;
use crate::snapshots::assert_answer;
use serde_json::{Value, json};

const PATH: &str = "/api/apps/user-management/functions/";

#[tokio::test]
async fn a_function_is_answered_bare() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"name": "Validate User Data", "execution_mode": "system",
        "timeout_seconds": 5, "max_attempts": 2, "description": "Checks"});
    let created = app.post(PATH, &body).bearer(&root).send().await;
    assert_eq!(created.status, 201);
    assert_answer!(created);
    let one = app
        .get(&format!("{PATH}validate-user-data/"))
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(one["slug"], "validate-user-data");
    let list = app.get(PATH).bearer(&root).send().await.ok();
    assert_eq!(list["total"], 1);
    assert_eq!(list["data"][0]["id"], one["id"]);
}

#[tokio::test]
async fn a_function_changes_and_ends() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Deny").await;
    let path = format!("{PATH}deny/");
    let body = json!({"name": "Denies", "is_active": false});
    let changed = app
        .ask("PATCH", &path)
        .json(&body)
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(changed["name"], "Denies");
    assert_eq!(changed["is_active"], false);
    assert_eq!(changed["version"], 1);
    assert_answer!(
        app.get(&format!("{path}versions/"))
            .bearer(&root)
            .send()
            .await
    );
    let activate = |n: &str| app.post(&format!("{path}versions/{n}/activate/"), &json!({}));
    assert_eq!(activate("1").bearer(&root).send().await.ok()["version"], 1);
    for none in ["2", "0", "x", "-1", "99999999999"] {
        activate(none)
            .bearer(&root)
            .send()
            .await
            .is_error(404, "NOT_FOUND");
    }
    app.ask("DELETE", &path).bearer(&root).send().await.ok();
    app.get(&path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn versions_are_listed_in_pages_without_code_and_shown_one_by_one_with_it() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let code = |n: u32| format!("def main(params):\n    return {n}\n");
    let body = json!({"name": "Many", "code": code(1)});
    app.post(PATH, &body).bearer(&root).send().await.ok();
    let path = format!("{PATH}many/");
    for n in 2..=5 {
        let body = json!({"code": code(n)});
        let change = app.ask("PATCH", &path).json(&body).bearer(&root);
        assert_eq!(change.send().await.ok()["version"], n);
    }
    let get = |path: String| app.get(&path).bearer(&root).send();
    let list = get(format!("{path}versions/?page_size=2&page=2"))
        .await
        .ok();
    assert_eq!(list["total"], 5);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(list["data"][0]["version"], 3);
    assert_eq!(list["data"][0].get("code"), None);
    assert_eq!(list["data"][0]["is_active"], false);
    for n in [1, 3, 5] {
        let one = get(format!("{path}versions/{n}/")).await.ok();
        assert_eq!(one["data"]["code"], code(n));
        assert_eq!(one["data"]["version"], n);
        assert_eq!(one["data"]["is_active"], n == 5);
    }
    for none in ["6", "0", "x", "-1", "99999999999"] {
        let answer = get(format!("{path}versions/{none}/")).await;
        answer.is_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn slugs_are_made_of_unicode_names_and_what_leaves_nothing_is_said_of_the_name() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let made = |body| app.post("/api/apps/", &body).bearer(&root).send();
    let answer = made(json!({"name": "Üñïcode App"})).await;
    assert_eq!(answer.ok()["data"]["slug"], "unicode-app");
    let long = "Ünï ".repeat(37);
    let slug = made(json!({"name": long})).await.ok()["data"]["slug"].clone();
    assert_eq!(slug, "uni-".repeat(16).trim_end_matches('-'));
    for nothing in ["日本語", "!!!", "—"] {
        let answer = made(json!({"name": nothing})).await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(message.starts_with("name: No slug"), "{message}");
        assert_eq!(answer.body["errors"][0]["field"], "name");
        let given = json!({"name": nothing, "slug": "given"});
        assert_eq!(
            made(given).await.status,
            if nothing == "日本語" { 201 } else { 409 }
        );
    }
    app.user_management(&root).await;
    let body = json!({"name": "日本語", "execution_mode": "system"});
    let answer = app.post(PATH, &body).bearer(&root).send().await;
    assert_eq!(answer.body["errors"][0]["field"], "name", "{}", answer.body);
}

#[tokio::test]
async fn a_time_limit_has_a_floor_and_a_scheme_any_case() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for seconds in [1e-9, 0.049, 300.1] {
        let body = json!({"name": "x", "execution_mode": "system", "timeout_seconds": seconds});
        let answer = app.post(PATH, &body).bearer(&root).send().await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(message, "timeout_seconds: Use 0.05 to 300 seconds");
    }
    let body = json!({"name": "x", "execution_mode": "proxy", "webhook_url": "HTTP://x.test/"});
    app.post(PATH, &body).bearer(&root).send().await.ok();
}

const HOOK: &str =
    r#""name": "Other", "execution_mode": "proxy", "webhook_url": "http://127.0.0.1:9/""#;
const CODE: &str = r#""name": "Other", "code": "def main(p): return 1""#;

/// Method, function, members of the body, and the one field that is refused.
const STRANGE: [(&str, &str, &str, &str); 10] = [
    (
        "PATCH",
        "hook/",
        r#""code": "def main(p): return 1""#,
        "code",
    ),
    (
        "PATCH",
        "code/",
        r#""webhook_url": "http://a/""#,
        "webhook_url",
    ),
    ("PATCH", "code/", r#""headers": {"a": "b"}"#, "headers"),
    (
        "POST",
        "",
        r#"HOOK, "code": "def main(p): return 1""#,
        "code",
    ),
    (
        "POST",
        "",
        r#"CODE, "webhook_url": "http://a/""#,
        "webhook_url",
    ),
    ("POST", "", r#"CODE, "headers": {"a": "b"}"#, "headers"),
    (
        "POST",
        "",
        r#"HOOK, "headers": {"x": "********"}"#,
        "headers.x",
    ),
    (
        "POST",
        "",
        r#"HOOK, "headers": {"X": "1", "x": "2"}"#,
        "headers.x",
    ),
    (
        "PUT",
        "hook/",
        r#""headers": {"x-new": "********"}"#,
        "headers.x-new",
    ),
    (
        "PATCH",
        "hook/",
        r#""headers": {"X-Token": "2", "x-token": "1"}"#,
        "headers.x-token",
    ),
];

fn body(members: &str) -> Value {
    let members = members.replace("HOOK", HOOK).replace("CODE", CODE);
    serde_json::from_str(&format!("{{{members}}}")).unwrap()
}

/// What a mode does not have is refused by its own field, and nothing is missing that is there.
#[tokio::test]
async fn a_mode_has_its_own_fields_and_headers_have_one_name() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let ask = |method: &str, path: &str, body: Value| {
        let path = format!("{PATH}{path}");
        app.ask(method, &path).json(&body).bearer(&root).send()
    };
    let code = body(r#"CODE, "slug": "code""#);
    let headers = r#""headers": {"X-Token": "secret", "x-team": "crm"}"#;
    let hook = body(&format!(r#"HOOK, "slug": "hook", {headers}"#));
    ask("POST", "", code).await.ok();
    ask("POST", "", hook).await.ok();
    for (method, path, members, field) in STRANGE {
        let answer = ask(method, path, body(members)).await;
        answer.is_error(400, "VALIDATION_ERROR");
        let fields = answer.body["errors"].as_array().unwrap();
        assert_eq!(fields.len(), 1, "{members}: {}", answer.body);
        assert_eq!(fields[0]["field"], field, "{members}: {}", answer.body);
    }
    // The same header by another case is the same header.
    let put = body(r#""headers": {"x-TOKEN": "********"}"#);
    let put = ask("PUT", "hook/", put).await.ok();
    assert_eq!(put["version"], 2, "another name, the same value");
    let merge = body(r#""headers": {"X-Token": null}"#);
    let hook = format!("{PATH}hook/");
    let merge = merge.to_string().into_bytes();
    let asking = app.ask("PATCH", &hook).raw(merge).bearer(&root);
    let merge = asking.header("content-type", "application/merge-patch+json");
    merge.send().await.ok();
    let shown = ask("GET", "hook/", json!({})).await.ok();
    assert_eq!(shown["headers"], json!({}), "{shown}");
}

#[tokio::test]
async fn bad_values_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "x", "execution_mode": "other"}),
        json!({"name": "x", "environment": "cobol"}),
        json!({"name": "x", "execution_mode": "system", "timeout_seconds": 0}),
        json!({"name": "x", "execution_mode": "system", "timeout_seconds": 1e9}),
        json!({"name": "x", "execution_mode": "system", "memory_mb": -1}),
        json!({"name": "x", "execution_mode": "system", "id": 7}),
        json!({"name": "x", "execution_mode": "app"}),
        json!({"name": "x", "execution_mode": "proxy", "webhook_url": "ftp://x"}),
    ] {
        let answer = app.post(PATH, &body).bearer(&root).send().await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        answer.is_error(400, "VALIDATION_ERROR");
    }
}
