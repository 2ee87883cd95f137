//! The server over real connections.

use crate::app::TestApp;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollgate_server::{Server, ServerConfig};

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<()>,
}

pub(crate) async fn run(app: &TestApp, config: ServerConfig) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new(config, Arc::clone(&app.platform));
    let ended = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.run(listener, stopped).await;
    });
    Running {
        address,
        stop,
        ended,
    }
}

/// Sends text and reads until the server closes the connection.
pub(crate) async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_half_sent_head_is_not_waited_for() {
    let app = TestApp::new().await;
    let config = ServerConfig {
        header_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    let running = run(&app, config).await;
    assert_eq!(exchange(running.address, "GET /healthz HTT").await, "");
    // An idle connection after a whole request ends as well.
    let answer = exchange(running.address, "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_half_sent_body_is_not_waited_for() {
    let app = TestApp::new().await;
    let config = ServerConfig {
        body_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    let running = run(&app, config).await;
    let request = "POST /api/auth/jwt/token/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 50\r\n\r\n{\"username\":";
    let answer = exchange(running.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn whoever_does_not_read_is_reset() {
    let app = TestApp::new().await;
    let config = ServerConfig {
        write_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    let running = run(&app, config).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(running.address).await.unwrap();
    let request = "GET /api/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";
    client
        .write_all(request.repeat(300).as_bytes())
        .await
        .unwrap();
    client.ready(Interest::ERROR).await.unwrap();
}

/// The refusal arrives although the server has not read all that was sent.
#[tokio::test]
async fn a_head_that_is_too_large_is_refused_openly() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let long = "x".repeat(1_000_000);
    let head = format!("GET /healthz HTTP/1.1\r\nhost: h\r\nx-long: {long}\r\n\r\n");
    let answer = exchange(running.address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn stopping_lets_open_connections_end() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0_u8; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    running.stop.send(()).unwrap();
    running.ended.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    TcpStream::connect(running.address).await.unwrap_err();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let app = TestApp::new().await;
    let running = run(
        &app,
        ServerConfig {
            connections: 1,
            ..ServerConfig::default()
        },
    )
    .await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0_u8; 12];
    first.read_exact(&mut head).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let waiting = tokio::spawn(exchange(running.address, request));
    // Only the end of the first lets the second in.
    drop(first);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
}

/// Reads until `text` has been seen.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_ne!(
            stream.read_buf(&mut seen).await.unwrap(),
            0,
            "closed before {text}"
        );
    }
}

#[tokio::test]
async fn whoever_hangs_up_cancels_the_operation() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let hang = app.function(&root, "Hang").await;
    app.subscribe(&root, "PRE_USER_CREATE", hang).await;
    let running = run(&app, ServerConfig::default()).await;

    let mut client = TcpStream::connect(running.address).await.unwrap();
    let body = json!({"username": "ann", "email": "ann@example.com"}).to_string();
    let request = format!(
        "POST /api/users/ HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {root}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let count = async |state: &str| {
        let list = format!("/api/invocations/?event=PRE_USER_CREATE&status={state}");
        app.get(&list).bearer(&root).send().await.ok()["total"].clone()
    };
    while count("STARTED").await == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    while count("cancelled").await == 0 {
        tokio::task::yield_now().await;
    }
    app.get("/api/users/ann/")
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn stopping_ends_open_streams() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let running = run(&app, ServerConfig::default()).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let request = format!(
        "GET /api/invocations/stream/ HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {root}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut client, "text/event-stream").await;
    running.stop.send(()).unwrap();
    running.ended.await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_its_credential() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let ann = app.user(&root, "ann", &["user-management:viewer"]).await;
    let running = run(&app, ServerConfig::default()).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let request = format!(
        "GET /api/invocations/stream/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {ann}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut client, "text/event-stream").await;
    let path = "/api/apps/user-management/functions/validate-user-data/execute/";
    let execute = || app.post(path, &json!({})).bearer(&root).send();
    execute().await.ok();
    read_until(&mut client, "succeeded").await;
    let off = app.ask("PATCH", "/api/users/ann/");
    let off = off.json(&json!({"is_active": false})).bearer(&root);
    off.send().await.ok();
    let unseen = execute().await.ok()["invocation"]["id"].clone();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains(&format!("\"id\":{unseen},")), "{rest}");
}

/// A client that sends head and body apart must not lose its connection to an early refusal.
#[tokio::test]
async fn a_refusal_before_the_body_was_read_keeps_the_connection() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let head = "POST /api/users/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: 2\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // The server has answered this one by the time that the body of the other arrives.
    exchange(
        running.address,
        "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    client.write_all(b"{}").await.unwrap();
    read_until(&mut client, "credentials were not provided").await;
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut client, "HTTP/1.1 200").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_to_read_ends_the_connection_openly() {
    let app = TestApp::new().await;
    let running = run(&app, ServerConfig::default()).await;
    let head = "POST /api/users/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: 99999999\r\n\r\n";
    let answer = exchange(running.address, head).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}
