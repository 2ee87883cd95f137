//! E26 with the real program, second part: what other hosts answer must not cost the server memory, and
//! what filters cost must hold up no other request.

use super::e26_server_spending::{GROWTH_BYTES, Peak, resident};
use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_core::limits;

const APP: &str = "hostile";
/// Functions, and requests of each at the same time: more than fifty.
const FUNCTIONS: usize = 4;
const REQUESTS: usize = 13;
const LARGE_BYTES: usize = 8 << 20;

const ASKS: &str = "\
import threading

def main(params, user_data, sdk_client):
    got = []

    def ask():
        try:
            got.append(len(sdk_client.http.get(params['url'], timeout=250).body))
        except Exception as error:
            got.append(getattr(error, 'code', repr(error)))

    threads = [threading.Thread(target=ask) for _ in range(params['times'])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got
";

/// Answers by the path: how large, and whether it says so before.
async fn answers(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let says = |path: &str| request.starts_with(format!("GET {path} ").as_bytes());
    let bytes = match () {
        () if says("/small") => 10,
        () if says("/whole") => limits::EGRESS_REPLY_BYTES,
        () => LARGE_BYTES,
    };
    let piece = vec![b'x'; 64 * 1024];
    if says("/chunked") {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await?;
        for _ in 0..bytes / piece.len() {
            let length = format!("{:x}\r\n", piece.len());
            stream.write_all(length.as_bytes()).await?;
            stream.write_all(&piece).await?;
            stream.write_all(b"\r\n").await?;
        }
        return stream.write_all(b"0\r\n\r\n").await;
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let part = left.min(piece.len());
        stream.write_all(&piece[..part]).await?;
        left -= part;
    }
    Ok(())
}

/// A host on this machine.
async fn host() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who hangs up has seen enough.
            tokio::spawn(async move { drop(answers(stream).await) });
        }
    });
    format!("http://{address}")
}

/// What all the requests got.
async fn ask_all(api: &Api, url: &str) -> Vec<Value> {
    let body = json!({"params": {"url": url, "times": REQUESTS}});
    let calls = (0..FUNCTIONS).map(|number| {
        let (api, body) = (api.clone(), body.clone());
        async move {
            api.execute(APP, &format!("asks-{number}"), &body)
                .await
                .ok()
        }
    });
    let answers = join_all(calls).await;
    let got = answers
        .iter()
        .filter_map(|answer| answer["data"].as_array());
    got.flatten().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_replies_take_the_servers_memory() {
    let settings = [
        ("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true"),
        ("TOLLGATE_OUTBOUND__PORTS", "[]"),
    ];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &settings).await;
    let api = &server.api;
    api.app(APP).await;
    let options = json!({"network": "egress", "memory_mb": 1024});
    for number in 0..FUNCTIONS {
        api.function(APP, &format!("asks-{number}"), ASKS, &options)
            .await;
    }
    let host = host().await;
    let all = FUNCTIONS * REQUESTS;
    // What connections and threads take once they are there.
    let got = ask_all(api, &format!("{host}/small")).await;
    assert_eq!(got, vec![json!(10); all]);
    let before = resident(&server);
    let peak = Peak::of(&server);
    for (path, expected) in [
        ("declared", json!("PAYLOAD_TOO_LARGE")),
        ("chunked", json!("PAYLOAD_TOO_LARGE")),
        ("whole", json!(limits::EGRESS_REPLY_BYTES)),
    ] {
        let got = ask_all(api, &format!("{host}/{path}")).await;
        assert_eq!(got, vec![expected; all], "{path}");
        let grown = peak.most().saturating_sub(before);
        println!("{path}: grew by {} MiB at most", grown >> 20);
        assert!(grown < GROWTH_BYTES, "{path}: {} MiB", grown >> 20);
    }
    drop(peak);
    server.stop().await;
}

/// As many filters as there may be, each far dearer than what is evaluated beside other requests.
const FILTERS: usize = limits::SUBSCRIBERS_PER_EVENT;
/// More than are served while a user is written.
const SERVED: usize = 20;

/// How many requests a server answers while it creates a user.
async fn served_meanwhile(api: &Api, name: &str) -> usize {
    let list: Vec<u32> = (0..100).collect();
    let user = json!({"username": name, "email": format!("{name}@example.com"),
        "attributes": {"a": list, "b": list}});
    let mut creating = Box::pin(api.post("/api/users/", &user));
    let mut served = 0;
    loop {
        tokio::select! {
            biased;
            created = &mut creating => {
                assert_eq!(created.status, 201, "{created:?}");
                return served;
            }
            health = api.get("/healthz") => {
                health.ok();
                served += 1;
            }
        }
    }
}

/// By order, not by time: others are served while filters are evaluated, though the server has one thread
/// for all. On a machine with other work it may need more than one try.
#[tokio::test]
async fn dear_filters_hold_up_no_other_request() {
    let settings = [("TOKIO_WORKER_THREADS", "1")];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &settings).await;
    let api = &server.api;
    api.app("gate").await;
    let filter = "!event.params.attributes.a.all(x, x in event.params.attributes.b)";
    let code = "def main(params): return {'success': True}\n";
    for number in 0..FILTERS {
        let id = api
            .function("gate", &format!("f{number}"), code, &json!({}))
            .await;
        let body = json!({"function_id": id, "filter": filter});
        let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
        api.post(path, &body).await.ok();
    }
    let mut tries = Vec::new();
    while tries.last().is_none_or(|&served| served < SERVED) {
        assert!(tries.len() < 10, "{tries:?} were served meanwhile");
        tries.push(served_meanwhile(api, &format!("u{}", tries.len())).await);
    }
    println!("{tries:?} were served meanwhile");
    server.stop().await;
}
