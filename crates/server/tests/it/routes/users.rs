//! `/api/users/…`

use crate::app::{PASSWORD, TestApp};
use crate::snapshots::assert_answer;
use serde_json::json;

const PATH: &str = "/api/users/";

#[tokio::test]
async fn a_user_is_created() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"username": "john_doe", "email": "john@example.com",
        "password": PASSWORD, "confirm_password": PASSWORD, "first_name": "John",
        "last_name": "Doe", "attributes": {"plan": "free"}});
    let answer = app.post(PATH, &body).bearer(&root).send().await;
    assert_eq!(answer.status, 201);
    assert_answer!(answer);
    let got = app
        .get("/api/users/john_doe/")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(got["data"], answer.body["data"]);
    assert!(!got.to_string().contains("password"));
    // The same under the other prefix.
    let cloud = app
        .get("/api/cloud/users/john_doe/")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(cloud, got);
}

#[tokio::test]
async fn attributes_may_come_as_text() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = |attributes| json!({"username": "a", "email": "a@b.cd", "attributes": attributes});
    for wrong in ["nope", "[1]", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}"] {
        let answer = app
            .post(PATH, &body(json!(wrong)))
            .bearer(&root)
            .send()
            .await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
    let answer = app
        .post(PATH, &body(json!("{\"plan\":\"free\"}")))
        .bearer(&root)
        .send()
        .await;
    assert_eq!(answer.ok()["data"]["attributes"], json!({"plan": "free"}));
}

#[tokio::test]
async fn bad_values_are_refused_by_field() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"username": "a b", "email": "nope", "password": "short"});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
    let body = json!({"username": "a", "email": "a@b.cd", "password": PASSWORD,
        "confirm_password": "other"});
    let answer = app.post(PATH, &body).bearer(&root).send().await;
    assert!(
        answer
            .is_error(400, "VALIDATION_ERROR")
            .starts_with("confirm_password")
    );
    let body = json!({"username": "a", "email": "a@b.cd", "is_superuser": true});
    let answer = app.post(PATH, &body).bearer(&root).send().await;
    assert!(
        answer
            .is_error(400, "VALIDATION_ERROR")
            .contains("is_superuser")
    );
}

#[tokio::test]
async fn a_name_or_address_is_taken_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"username": "ROOT", "email": "new@example.com"});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
    let body = json!({"username": "new", "email": "Root@Default.Example"});
    app.post(PATH, &body)
        .bearer(&root)
        .send()
        .await
        .is_error(409, "CONFLICT");
}

#[tokio::test]
async fn a_pre_function_can_deny() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Deny").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let body = json!({"username": "ann", "email": "ann@example.com"});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
    app.get("/api/users/ann/")
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_pre_function_can_break() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Broken").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let body = json!({"username": "ann", "email": "ann@example.com"});
    assert_answer!(app.post(PATH, &body).bearer(&root).send().await);
}

#[tokio::test]
async fn a_pre_function_can_enrich() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Enrich").await;
    app.subscribe(&root, "PRE_USER_CREATE", id).await;
    let body = json!({"username": "ann", "email": "ann@example.com", "first_name": "Ann"});
    let answer = app.post(PATH, &body).bearer(&root).send().await.ok();
    assert_eq!(answer["data"]["first_name"], "Enriched");
}

#[tokio::test]
async fn users_change_and_end() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let body = json!({"first_name": "Ann"});
    let path = "/api/users/ann/";
    let put = app
        .ask("PUT", path)
        .json(&body)
        .bearer(&ann)
        .send()
        .await
        .ok();
    assert_eq!(put["data"]["first_name"], "Ann");
    assert_eq!(put["data"]["email"], "ann@example.com");
    let body = json!({"is_staff": true});
    let answer = app.ask("PATCH", path).json(&body).bearer(&ann).send().await;
    answer.is_error(403, "FORBIDDEN");
    app.ask("DELETE", path)
        .bearer(&ann)
        .send()
        .await
        .is_error(403, "FORBIDDEN");
    assert_answer!(app.ask("DELETE", path).bearer(&root).send().await);
    app.get(path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    app.get("/api/users/me/")
        .bearer(&ann)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    let deleted = app
        .get("/api/users/?is_deleted=True")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert_eq!(deleted["data"][0]["username"], "ann");
}

#[tokio::test]
async fn lists_are_searched_filtered_and_ordered() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in ["ann", "bob", "cem"] {
        let email = format!("{name}@example.com");
        let body = json!({"username": name, "email": email, "is_active": name != "bob"});
        app.post(PATH, &body).bearer(&root).send().await.ok();
    }
    let body = json!({"roles": ["user-management:viewer"], "usernames": ["cem"]});
    app.post("/api/assign/roles/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    for (query, names) in [
        ("ordering=-username", vec!["root", "cem", "bob", "ann"]),
        ("search=B", vec!["bob"]),
        ("is_active=False", vec!["bob"]),
        ("is_staff=true", vec!["root"]),
        ("roles=user-management%3Aviewer,admin", vec!["cem"]),
        ("ordering=email&limit=1&offset=1", vec!["bob"]),
        ("ordering=username&page_size=1", vec!["ann"]),
    ] {
        let list = app
            .get(&format!("{PATH}?{query}"))
            .bearer(&root)
            .send()
            .await
            .ok();
        let found: Vec<_> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, names, "{query}");
    }
    let answer = app
        .get("/api/users/?ordering=password")
        .bearer(&root)
        .send()
        .await;
    answer.is_error(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn somebody_one_may_not_see_does_not_exist() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    app.get("/api/users/root/")
        .bearer(&ann)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    app.get("/api/users/root/apps/")
        .bearer(&ann)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    app.get("/api/users/ann/").bearer(&ann).send().await.ok();
    app.get("/api/users/")
        .bearer(&ann)
        .send()
        .await
        .is_error(403, "FORBIDDEN");
    assert_answer!(app.get("/api/users/ann/apps/").bearer(&ann).send().await);
}

#[tokio::test]
async fn a_missing_or_bad_credential_is_401() {
    let app = TestApp::new().await;
    assert_answer!(app.get(PATH).send().await);
    let bad = app.get(PATH).bearer("nonsense").send().await;
    assert_eq!(bad.header("www-authenticate"), "Bearer realm=\"Tollgate\"");
    assert_answer!(bad);
    let bearer = "x".repeat(9000);
    app.get(PATH)
        .bearer(&bearer)
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    app.get(PATH)
        .header("authorization", "Api-Key x")
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    app.get(PATH)
        .header("x-session-token", "x")
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    let basic = app
        .get(PATH)
        .header("authorization", "Basic eDp5")
        .send()
        .await;
    let message = basic.is_error(401, "UNAUTHORIZED");
    assert_eq!(message, "Authentication credentials were not provided.");
}
