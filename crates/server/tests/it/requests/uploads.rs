//! Connections at their ends: early refusals reach whoever is still sending, half-closed clients get
//! their answer, and whoever waits at a stop is told.

use crate::app::TestApp;
use crate::connections::{exchange, read_until, run};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_server::ServerConfig;

/// Many are only worth their time where somebody looks for what is rare.
fn times(few: u32) -> u32 {
    if std::env::var_os("TOLLGATE_LONG").is_some() {
        1000
    } else {
        few
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_reaches_whoever_sends_everything_first() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let body = vec![b'x'; 3 * 1024 * 1024];
    for (path, media, status) in [
        ("/api/auth/jwt/token/", "application/json", "413"),
        ("/api/users/", "application/json", "401"),
        ("/api/none/", "application/json", "404"),
        ("/api/auth/jwt/token/", "text/plain", "413"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        for n in 0..times(25) {
            let mut client = TcpStream::connect(running.address).await.unwrap();
            client.write_all(head.as_bytes()).await.unwrap();
            client
                .write_all(&body)
                .await
                .unwrap_or_else(|error| panic!("{path} {n}: {error}"));
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer).await;
            read.unwrap_or_else(|error| panic!("{path} {n}: {error}"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{path} {n}: {answer}"
            );
        }
    }
}

const CLIENT: &str = r#"
import http.client, sys
host, count = sys.argv[1], int(sys.argv[2])
body = b"x" * (3 * 1024 * 1024)
for n in range(count):
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("POST", "/api/auth/jwt/token/", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 413, answer.status
    answer.read()
    connection.close()
print("done")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_client_sees_the_refusal_of_an_upload() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let (host, count) = (running.address.to_string(), times(40).to_string());
    let client = tokio::task::spawn_blocking(move || {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", CLIENT, &host, &count]).output().unwrap()
    });
    let output = client.await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let running = run(&app, ServerConfig::default()).await;
    let body = json!({"username": "root", "password": crate::app::PASSWORD}).to_string();
    let sign_in = format!(
        "POST /api/auth/jwt/token/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let document = "GET /api/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n".to_owned();
    let health = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n".to_owned();
    let two = format!("{health}{sign_in}");
    for (request, answers, end) in [
        (sign_in, 1, "}"),
        (document, 1, "}"),
        (health, 1, "}"),
        (two, 2, "}"),
    ] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            answers,
            "{answer:.300}"
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:.100}");
        assert!(answer.ends_with(end), "{answer:.300}");
    }
}

/// Sends `text`, ends the client's side at once, and reads what comes.
async fn half_closed(address: std::net::SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

fn with_body(method: &str, path: &str, root: &str, more: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {root}\r\n{more}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_arrived_before_the_end_is_worked_on() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let running = run(&app, ServerConfig::default()).await;
    let execute = "/api/apps/user-management/functions/validate-user-data/execute/";
    let close = "connection: close\r\n";
    for n in 0..times(50) {
        let user = json!({"username": format!("u{n}"), "email": format!("u{n}@example.com")});
        let post = |path: &str, more: &str, body: &serde_json::Value| {
            with_body("POST", path, &root, more, body)
        };
        let create = post("/api/users/", "", &user);
        let run = post(
            execute,
            close,
            &json!({"params": {"email": "a@example.com"}}),
        );
        let app = post("/api/apps/", "", &json!({"name": format!("App {n}")}));
        let refused = post("/api/apps/", close, &json!({"nam": 1}));
        let two = format!("{}{run}", post(execute, "", &json!({"params": {}})));
        let chunked = format!(
            "POST {execute} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {root}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        );
        let delete = with_body(
            "DELETE",
            &format!("/api/users/u{n}/"),
            &root,
            "",
            &json!({}),
        );
        for (request, statuses) in [
            (create, &["201"][..]),
            (run, &["200"]),
            (app, &["201"]),
            (refused, &["400"]),
            (two, &["200", "200"]),
            (chunked, &["200"]),
            (delete, &["200"]),
        ] {
            let answer = half_closed(running.address, &request).await;
            let answers = answer.split("HTTP/1.1 ").skip(1);
            let lines: Vec<_> = answers.map(|answer| &answer[..3]).collect();
            assert_eq!(lines, statuses, "{n}: {request}\n{answer}");
        }
    }
}

/// The same for a request whose body nobody reads.
#[tokio::test]
async fn whoever_is_gone_cancels_what_has_a_body_nobody_reads() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let hang = app.function(&root, "Hang").await;
    app.user(&root, "ann", &[]).await;
    app.subscribe(&root, "PRE_USER_DELETE", hang).await;
    let running = run(&app, ServerConfig::default()).await;
    let count = async |state: &str| {
        let list = format!("/api/invocations/?event=PRE_USER_DELETE&status={state}");
        app.get(&list).bearer(&root).send().await.ok()["total"].clone()
    };
    for (n, half) in [(1, false), (2, true)] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        let request = with_body("DELETE", "/api/users/ann/", &root, "", &json!({}));
        client.write_all(request.as_bytes()).await.unwrap();
        while count("STARTED").await == 0 {
            tokio::task::yield_now().await;
        }
        if half {
            client.shutdown().await.unwrap();
            let mut first = [0_u8; 1];
            client.read_exact(&mut first).await.unwrap();
            assert_eq!(count("STARTED").await, 1, "a half-closed client is there");
            // Else its end would say nothing that was not said.
            client.set_zero_linger().unwrap();
        }
        drop(client);
        while count("cancelled").await != n {
            tokio::task::yield_now().await;
        }
    }
    app.get("/api/users/ann/").bearer(&root).send().await.ok();
}

#[tokio::test]
async fn whoever_waits_when_the_time_to_stop_is_over_is_told_and_so_is_the_record() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Hang").await;
    let config = ServerConfig {
        grace: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    let running = run(&app, config).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let request = format!(
        "POST /api/apps/user-management/functions/hang/execute/ HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {root}\r\ncontent-length: 0\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let listed = async |state: &str| {
        let list = format!("/api/invocations/?status={state}");
        app.get(&list).bearer(&root).send().await.ok()
    };
    while listed("STARTED").await["total"] == 0 {
        tokio::task::yield_now().await;
    }
    running.stop.send(()).unwrap();
    read_until(&mut client, "SERVICE_UNAVAILABLE").await;
    running.ended.await.unwrap();
    while listed("cancelled").await["total"] == 0 {
        tokio::task::yield_now().await;
    }
    let run = listed("cancelled").await["data"][0].clone();
    assert_eq!(
        run["error"]["message"],
        "The server stopped before this run ended"
    );
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_not_waited_for() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let head = "POST /api/auth/jwt/token/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: 50\r\n\r\n{";
    client.write_all(head.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let health = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    assert!(
        exchange(running.address, health)
            .await
            .starts_with("HTTP/1.1 200")
    );
}
