//! `network: egress` through the real program: what leads out, and that nothing leads in.

use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

const FETCH: &str = "\
import urllib.request

def main(params, user_data, sdk_client):
    key = sdk_client.secrets.get('KEY')['value']
    answer = sdk_client.http.get(params['url'], headers={'X-Key': key}, timeout=20)
    with urllib.request.urlopen(params['url'], timeout=20) as response:
        return {'status': answer.status, 'text': answer.text, 'again': response.read().decode()}
";

/// Answers everybody with the same words, and tells what came.
async fn listener() -> (u16, watch::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, seen) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            came.send_modify(|all| all.push(String::from_utf8_lossy(&request).into_owned()));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            // Who hangs up has what it wanted.
            let _ = stream.write_all(answer).await;
        }
    });
    (port, seen)
}

async fn fetch(server: &Server, url: &str) -> crate::support::api::Answer {
    let body = json!({"params": {"url": url}});
    server.api.execute("shop", "fetch", &body).await
}

async fn with_function(server: &Server) {
    let api = &server.api;
    api.app("shop").await;
    let secret = json!({"key": "KEY", "value": "canary-of-egress"});
    api.post("/api/secrets/?app=shop", &secret).await.ok();
    let options = json!({"network": "egress"});
    api.function("shop", "fetch", FETCH, &options).await;
}

const PRIVATE: [(&str, &str); 2] = [
    ("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true"),
    ("TOLLGATE_OUTBOUND__PORTS", "[]"),
];

#[tokio::test]
async fn functions_reach_what_the_operator_lets_them() {
    let (port, seen) = listener().await;
    let url = format!("http://127.0.0.1:{port}/hook");
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &PRIVATE).await;
    with_function(&server).await;
    let got = fetch(&server, &url).await.ok();
    assert_eq!(
        got["data"],
        json!({"status": 200, "text": "hello", "again": "hello"})
    );
    let first = seen.borrow()[0].clone();
    assert!(first.contains("x-key: canary-of-egress"), "{first}");
    // A switched-off way out holds for the next call.
    let path = "/api/apps/shop/functions/fetch/";
    let patch = server.api.request(reqwest::Method::PATCH, path);
    let patch = patch.json(&json!({"network": "none"}));
    server.api.try_send(patch).await.unwrap().ok();
    let refused = fetch(&server, &url).await;
    let message = refused.refused(400, "FUNCTION_FAILED");
    assert!(message.contains("network"), "{message}");
    let patch = server.api.request(reqwest::Method::PATCH, path);
    let patch = patch.json(&json!({"network": "egress"}));
    server.api.try_send(patch).await.unwrap().ok();
    server.stop().await;
    assert_eq!(seen.borrow().len(), 2);

    // The site may reach something else only.
    let shown = folder.run(&["admin", "egress"]).await.ok();
    assert!(shown.contains("every public host"), "{shown}");
    let set = [
        "admin",
        "egress",
        "--allow",
        "api.example.com",
        "--allow",
        "*.b.test",
    ];
    let shown = folder.run(&set).await.ok();
    assert!(shown.contains("\napi.example.com\n*.b.test"), "{shown}");
    let wrong = ["admin", "egress", "--allow", "https://api.example.com/"];
    let error = folder.run(&wrong).await.refused();
    assert!(error.contains("without scheme"), "{error}");
    let server = Server::start_in(&folder, &[], &PRIVATE).await;
    let refused = fetch(&server, &url).await;
    let message = refused.refused(400, "FUNCTION_FAILED");
    assert!(message.contains("tollgate admin egress"), "{message}");
    server.stop().await;
    assert_eq!(seen.borrow().len(), 2);
    folder.run(&["admin", "egress", "--any"]).await.ok();
    let server = Server::start_in(&folder, &[], &PRIVATE).await;
    fetch(&server, &url).await.ok();
    server.stop().await;
}

#[tokio::test]
async fn nothing_private_is_reached_by_default() {
    let (port, seen) = listener().await;
    let ports = [("TOLLGATE_OUTBOUND__PORTS", "[]")];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &ports).await;
    with_function(&server).await;
    let own: Value = server.api.url.rsplit(':').next().unwrap().parse().unwrap();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://127.0.0.1:{own}/api/users/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let refused = fetch(&server, &url).await;
        let message = refused.refused(400, "FUNCTION_FAILED");
        assert!(
            message.contains("The address is not called"),
            "{url}: {message}"
        );
        assert!(
            !refused.body.to_string().contains("canary-"),
            "{}",
            refused.body
        );
    }
    server.stop().await;
    assert_eq!(*seen.borrow(), [] as [String; 0]);
}

#[tokio::test]
async fn a_file_is_tried_with_it_and_without() {
    let (port, seen) = listener().await;
    let code = "\
def main(params, user_data, sdk_client):
    return sdk_client.http.get(params['url'], timeout=20).text
";
    let folder = Folder::new();
    folder.write("fetch.py", code);
    let params = json!({"url": format!("http://127.0.0.1:{port}/")}).to_string();
    let run = ["function", "run", "fetch.py", "--params", &params];
    let error = folder.run_with(&run, &PRIVATE).await.refused();
    assert!(error.contains("set its `network`"), "{error}");
    assert_eq!(seen.borrow().len(), 0);
    let said = folder
        .run_with(&[&run[..], &["--egress"]].concat(), &PRIVATE)
        .await;
    assert_eq!(said.ok().trim(), "\"hello\"");
}
