//! Requests that nobody sends by accident.

use crate::app::TestApp;
use serde_json::json;

#[tokio::test]
async fn hostile_bodies_are_refused_with_an_envelope() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let user = |attributes: &str| {
        format!("{{\"username\":\"a\",\"email\":\"a@b.cd\",\"attributes\":{attributes}}}")
    };
    let deep = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (user(&deep(64)).into_bytes(), 400),
        (user(&"[".repeat(100_000)).into_bytes(), 400),
        (user("{\"a\":1,\"a\":2}").into_bytes(), 400),
        (user("{\"a\":1,\"\\u0061\":2}").into_bytes(), 400),
        (user("{\"a\":\"\\u0000\"}").into_bytes(), 400),
        (user("{\"\\u0000\":1}").into_bytes(), 400),
        (user("{\"a\":\"\\ud800\"}").into_bytes(), 400),
        (user("{\"a\":1e999}").into_bytes(), 400),
        (user("{\"a\":-1e999}").into_bytes(), 400),
        (user("[]").into_bytes(), 400),
        (
            b"{\"username\":\"\xff\",\"email\":\"a@b.cd\"}".to_vec(),
            400,
        ),
        (
            b"{\"username\":\"a\",\"username\":\"b\",\"email\":\"a@b.cd\"}".to_vec(),
            400,
        ),
        (b"\xef\xbb\xbf{}".to_vec(), 400),
        (b"\"text\"".to_vec(), 400),
        (b"null".to_vec(), 400),
        (b"{\"username\":null,\"email\":\"a@b.cd\"}".to_vec(), 400),
        (
            b"{\"username\":\"a\",\"email\":\"a@b.cd\",\"is_active\":\"yes\"}".to_vec(),
            400,
        ),
        (vec![b' '; 1024 * 1024 + 1], 413),
        (
            user(&format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))).into_bytes(),
            400,
        ),
    ];
    for (body, status) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let asking = app.ask("POST", "/api/users/").bearer(&root).raw(body);
        let answer = asking
            .header("content-type", "application/json")
            .send()
            .await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
        assert_eq!(answer.body["success"], false, "{shown}");
        assert!(
            answer.body["message"].as_str().unwrap().len() < 1000,
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_declared_length_is_believed_before_a_byte_is_read() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let asking = app
        .ask("POST", "/api/users/")
        .bearer(&root)
        .header("content-length", "99999999");
    asking.send().await.is_error(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let post = |kind: &str| {
        let body = json!({"name": "x"}).to_string().into_bytes();
        app.ask("POST", "/api/apps/")
            .bearer(&root)
            .raw(body)
            .header("content-type", kind)
    };
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        post(kind).send().await.is_error(415, "BAD_REQUEST");
    }
    post("Application/JSON; charset=utf-8").send().await.ok();
}

#[tokio::test]
async fn hostile_paths_lead_nowhere() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for path in [
        "/api/users/%00/",
        "/api/users/%ff/",
        "/api/users/..%2f..%2fetc%2fpasswd/",
        "/api/users/../../healthz",
        "/api/apps/%27%20OR%201=1--/",
        "/api/invocations/abc/",
        "/api/invocations/99999999999999999999/",
        "/api/invocations/-1/",
        "/api/cloud/auth/api-keys/1e3/",
        &format!("/api/users/{}/", "x".repeat(5000)),
    ] {
        let answer = app.get(path).bearer(&root).send().await;
        assert!(
            matches!(answer.status, 404 | 405),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        assert_eq!(answer.body["success"], false, "{path}");
    }
}

#[tokio::test]
async fn wildcards_in_a_search_are_text() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for search in ["%25", "_", "%27", "%5C", "%00"] {
        let path = format!("/api/users/?search={search}");
        let list = app.get(&path).bearer(&root).send().await;
        assert_eq!(list.status, 200, "{search}: {}", list.body);
        assert_eq!(list.body["total"], 0, "{search}");
    }
}

#[tokio::test]
async fn hosts_that_are_no_sites_are_the_default_site() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for host in ["localhost:8000", "127.0.0.1", "[::1]:80", "a b", "ünï", ""] {
        let answer = app
            .get("/api/users/me/")
            .host(host)
            .bearer(&root)
            .send()
            .await;
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
    }
}
