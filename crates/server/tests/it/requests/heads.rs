//! Heads: host, encodings, other origins, names with dots, challenges, the root.

use crate::app::TestApp;
use crate::connections::{exchange, run};
use serde_json::json;
use tollgate_server::{CorsOrigins, ServerConfig};

const END: &str = "connection: close\r\n\r\n";

#[tokio::test]
async fn a_request_names_one_host() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nhost: a:80\r\n", 200),
        ("GET http://b/healthz HTTP/1.1\r\nhost: a\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n", 200),
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET http://b/healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost:\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a b\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: u@a\r\n", 400),
        ("GET /none HTTP/1.1\r\n", 400),
    ] {
        let answer = exchange(running.address, &format!("{head}{END}")).await;
        let first = answer.lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            first.split(' ').nth(1),
            Some(status.to_string().as_str()),
            "{head}: {answer}"
        );
        if status == 400 {
            assert!(answer.contains("\"code\":\"BAD_REQUEST\""), "{answer}");
            assert!(answer.contains("x-request-id: "), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_body_in_another_encoding_is_415() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for encoding in ["gzip", "br", "identity, gzip", "GZIP"] {
        for (method, path) in [
            ("POST", "/api/apps/"),
            ("PATCH", "/api/users/root/"),
            ("POST", "/api/auth/jwt/token/"),
        ] {
            let asking = app.ask(method, path).json(&json!({})).bearer(&root);
            let answer = asking.header("content-encoding", encoding).send().await;
            answer.is_error(415, "BAD_REQUEST");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    let asking = app.post("/api/apps/", &json!({"name": "A"})).bearer(&root);
    asking
        .header("content-encoding", "identity")
        .send()
        .await
        .ok();
}

#[tokio::test]
async fn a_body_that_was_transferred_in_another_way_is_501() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    for (coding, status) in [
        ("chunked", "401"),
        ("Chunked", "401"),
        ("gzip, chunked", "501"),
        ("gzip\r\ntransfer-encoding: chunked", "501"),
        ("identity, chunked", "501"),
    ] {
        let request = format!(
            "POST /api/apps/ HTTP/1.1\r\nhost: h\r\ntransfer-encoding: {coding}\r\n\
             content-type: application/json\r\nconnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        );
        let answer = exchange(running.address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{coding}: {answer}"
        );
    }
}

/// What hyper refuses before there is a request looks like every other error.
#[tokio::test]
async fn what_is_no_request_is_refused_in_the_usual_shape() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let long = "x".repeat(70_000);
    let many = "a: b\r\n".repeat(200);
    for (request, status) in [
        ("GET /healthz\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/2.0\r\n\r\n".to_owned(), "400"),
        (
            "GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET /healthz HTTP/1.1\r\nhost a\r\n\r\n".to_owned(), "400"),
        ("G\u{e9}T / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: abc\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            "400",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            "431",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            "431",
        ),
        // After one that is a request.
        (
            "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nnonsense\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let answer = exchange(running.address, &request).await;
        let (_, answer) = answer
            .rsplit_once("HTTP/1.1 ")
            .unwrap_or_else(|| panic!("{request:.60}"));
        assert!(answer.starts_with(status), "{request:.60}: {answer}");
        assert!(answer.contains("x-request-id: "), "{request:.60}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "BAD_REQUEST", "{body}");
    }
}

#[tokio::test]
async fn names_with_dots_need_no_final_slash() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for name in ["john.doe", "a.b.json", "x.json"] {
        app.user(&root, name, &[]).await;
        for path in [
            format!("/api/users/{name}"),
            format!("/api/cloud/users/{name}/"),
        ] {
            let user = app.get(&path).bearer(&root).send().await.ok();
            assert_eq!(user["data"]["username"], name);
        }
    }
    assert_eq!(
        app.get("/api/openapi.json").send().await.ok()["openapi"],
        "3.1.0"
    );
}

#[tokio::test]
async fn the_root_leads_somewhere_and_401_names_the_schemes() {
    let app = TestApp::new().await;
    let root = app.get("/").send().await;
    assert_eq!(root.ok()["docs"], "/docs");
    let page = app
        .get("/")
        .header("accept", "text/html,*/*;q=0.8")
        .send()
        .await;
    assert_eq!((page.status, page.header("location")), (303, "/docs"));
    let answer = app.get("/api/users/").send().await;
    answer.is_error(401, "UNAUTHORIZED");
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(
        challenges,
        ["Bearer realm=\"Tollgate\"", "Api-Key realm=\"Tollgate\""]
    );
}

const WISH: &str = "access-control-request-method: PATCH\r\n\
     access-control-request-headers: authorization,content-type,if-match\r\n";

async fn other_origin(app: &TestApp, origins: &[&str]) -> crate::connections::Running {
    let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
    let config = ServerConfig {
        cors_origins: CorsOrigins::parse(&origins).unwrap(),
        ..ServerConfig::default()
    };
    run(app, config).await
}

async fn ask(address: std::net::SocketAddr, first: &str, origin: &str, more: &str) -> String {
    let request = format!("{first} HTTP/1.1\r\nhost: h\r\norigin: {origin}\r\n{more}{END}");
    exchange(address, &request).await.to_lowercase()
}

#[track_caller]
fn line<'a>(answer: &'a str, name: &str) -> &'a str {
    let found = answer.lines().find(|line| line.starts_with(name));
    found.unwrap_or_else(|| panic!("{name}: {answer}"))
}

const ORIGINS: [&str; 2] = ["https://app.example", "http://localhost:5173"];

#[tokio::test]
async fn preflights_of_named_origins_are_answered_and_no_others() {
    let app = TestApp::new().await;
    let running = other_origin(&app, &ORIGINS).await;
    for origin in ORIGINS {
        let answer = ask(running.address, "OPTIONS /api/users/ann/", origin, WISH).await;
        assert!(answer.starts_with("http/1.1 20"), "{answer}");
        let allowed = format!("access-control-allow-origin: {origin}");
        assert_eq!(line(&answer, "access-control-allow-origin"), allowed);
        line(&answer, "access-control-max-age: 600");
        line(&answer, "x-request-id");
        assert!(line(&answer, "vary").contains("origin"));
        for method in ["patch", "put", "delete", "post", "get"] {
            assert!(line(&answer, "access-control-allow-methods").contains(method));
        }
        for header in [
            "authorization",
            "content-type",
            "idempotency-key",
            "if-match",
            "x-session-token",
        ] {
            assert!(line(&answer, "access-control-allow-headers").contains(header));
        }
        assert!(!answer.contains("allow-credentials"));
    }
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil",
        "http://app.example",
    ] {
        let answer = ask(running.address, "OPTIONS /api/users/", origin, WISH).await;
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
    let closed = run(&app, ServerConfig::default()).await;
    let answer = ask(closed.address, "GET /healthz", ORIGINS[0], "").await;
    assert!(
        !answer.contains("access-control"),
        "none without the setting: {answer}"
    );
}

#[tokio::test]
async fn pages_of_named_origins_can_read_errors_too() {
    let app = TestApp::new().await;
    let running = other_origin(&app, &ORIGINS).await;
    for (first, more, status) in [
        ("GET /api/users/", "", "401"),
        ("GET /none", "", "404"),
        ("PATCH /api/users/", "", "405"),
        ("POST /api/users/", "content-encoding: gzip\r\n", "415"),
        ("GET /healthz", "host: again\r\n", "400"),
    ] {
        let answer = ask(running.address, first, ORIGINS[0], more).await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{answer}"
        );
        line(&answer, "access-control-allow-origin: https://app.example");
        for header in ["x-request-id", "etag", "retry-after", "location"] {
            assert!(
                line(&answer, "access-control-expose-headers").contains(header),
                "{answer}"
            );
        }
    }
    let open = other_origin(&app, &["*"]).await;
    let answer = ask(open.address, "GET /healthz", "https://any.example", "").await;
    line(&answer, "access-control-allow-origin: *");
}
