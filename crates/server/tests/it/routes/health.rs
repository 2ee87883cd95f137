//! `/healthz`, `/readyz`, `/metrics`, `/docs` and what every answer has

use crate::app::TestApp;
use crate::snapshots::assert_answer;

#[tokio::test]
async fn health_needs_no_credential() {
    let app = TestApp::new().await;
    assert_answer!(app.get("/healthz").send().await);
    let ready = app.get("/readyz/").send().await.ok();
    assert_eq!(ready["database"], "ok");
    assert_eq!(ready["runtimes"][0]["healthy"], true);
}

#[tokio::test]
async fn measurements_name_routes_and_never_paths() {
    let app = TestApp::new().await;
    // The first question begins the measuring.
    app.get("/metrics").send().await;
    app.get("/api/users/secret-name/")
        .send()
        .await
        .is_error(401, "UNAUTHORIZED");
    app.get("/nowhere/secret-name/")
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    let answer = app.get("/metrics").send().await;
    let text = answer.body.as_str().unwrap();
    assert!(
        text.contains("route=\"/api/users/{username}/\",status=\"401\""),
        "{text}"
    );
    assert!(text.contains("route=\"none\",status=\"404\""), "{text}");
    assert!(
        text.contains("tollgate_http_request_duration_seconds_bucket"),
        "{text}"
    );
    assert!(!text.contains("secret-name"));
}

#[tokio::test]
async fn the_docs_page_loads_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let page = app.get("/docs").send().await;
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
    let page = page.body.as_str().unwrap().to_owned();
    assert!(!page.contains("http://") && !page.contains("https://"));
    for file in ["/docs/page.js", "/docs/page.css"] {
        assert!(page.contains(file));
        assert_eq!(app.get(file).send().await.status, 200);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let app = TestApp::new().await;
    for path in ["/healthz", "/api/users/", "/nowhere"] {
        let own = app.get(path).send().await;
        assert!(!own.header("x-request-id").is_empty(), "{path}");
        let given = app
            .get(path)
            .header("x-request-id", "trace-1.a:b_C")
            .send()
            .await;
        assert_eq!(given.header("x-request-id"), "trace-1.a:b_C");
        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            let answer = app.get(path).header("x-request-id", bad).send().await;
            assert_ne!(answer.header("x-request-id"), bad);
        }
    }
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths_are_explained() {
    let app = TestApp::new().await;
    let answer = app.ask("DELETE", "/api/cloud/events/").send().await;
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert_answer!(answer);
    app.get("/api/nothing/here/")
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    app.ask("TRACE", "/healthz")
        .send()
        .await
        .is_error(405, "BAD_REQUEST");
    app.get("//api/users/")
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_path_works_without_its_slash() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for path in [
        "/api/users",
        "/api/users?page=1",
        "/api/cloud/events",
        "/api/users/me",
    ] {
        assert_eq!(
            app.get(path).bearer(&root).send().await.status,
            200,
            "{path}"
        );
    }
    let body = serde_json::json!({"name": "A"});
    assert_eq!(
        app.post("/api/apps", &body)
            .bearer(&root)
            .send()
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn without_its_database_the_server_says_so_and_nothing_more() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.store.close();
    let body = serde_json::json!({"name": "A"});
    let answer = app.post("/api/apps/", &body).bearer(&root).send().await;
    let message = answer.is_error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(
        message,
        "The database is not available; try again in a moment"
    );
    assert_eq!(answer.header("retry-after"), "1");
    app.get("/readyz")
        .send()
        .await
        .is_error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(app.get("/healthz").send().await.status, 200);
}
