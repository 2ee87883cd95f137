//! Numbers that no double holds, from a server that shows them: every output has them as they came.

use crate::support::folder::Folder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Every form in which digits get lost by those who read them into numbers.
const NUMBERS: &str = r#"{"a":1.0,"b":1e400,"c":-36893488147419103233,"d":0.1000000000000000055511151231257827,"e":[1E5]}"#;
const RUN: &str = r#"{"id":7,"state":"succeeded","status":"SUCCESS","function_slug":"f","version":1,"event":null,
    "updated_at":"2025-01-15T10:30:00.000000Z","logs":[],"verdict":null,"attempts":[],
    "changes":{"x":{"from":NUMBERS,"to":null}},
    "task_result":{"task_args":NUMBERS,"result":NUMBERS}}"#;
const FUNCTION: &str = r#"{"id":3,"slug":"f","name":"F","app_slug":"a","version":1,"is_active":true,"execution_mode":"app",
    "code":"def main(params):\n    return 1\n","timeout_seconds":NUMBERS}"#;
const SUBSCRIBERS: &str = r#"{"success":true,"data":{"subscribers":[{"function_id":3,"event":"PRE_USER_CREATE","options":NUMBERS}],
    "events":[{"event":"PRE_USER_CREATE","total_subscribers":1}]}}"#;

fn answer(method: &str, path: &str) -> String {
    let list = |item: &str| format!(r#"{{"success":true,"data":[{item}],"total":1}}"#);
    let path = path.split('?').next().unwrap();
    let text = match (method, path) {
        ("POST", path) if path.ends_with("/execute/") => {
            format!(r#"{{"success":true,"queued":false,"data":NUMBERS,"invocation":{RUN}}}"#)
        }
        (_, "/api/invocations/") => list(RUN),
        (_, path) if path.starts_with("/api/invocations/") => RUN.to_owned(),
        (_, "/api/dead-letters/7/") => RUN.to_owned(),
        (_, path) if path.ends_with("/versions/") => {
            list(r#"{"id":1,"version":1,"is_active":true,"x":NUMBERS}"#)
        }
        (_, path) if path.ends_with("/functions/") => list(FUNCTION),
        (_, path) if path.ends_with("/functions/f/") => FUNCTION.to_owned(),
        (_, "/api/cloud/events/") => r#"{"data":{"events":["PRE_USER_CREATE"]}}"#.to_owned(),
        (_, path) if path.ends_with("/explain/") => {
            r#"{"data":{"event":"PRE_USER_CREATE","subscriptions":[],"x":NUMBERS}}"#.to_owned()
        }
        (_, path) if path.contains("/events/") && path.starts_with("/api/apps/") => {
            SUBSCRIBERS.to_owned()
        }
        (_, "/api/apps/") => list(r#"{"id":1,"slug":"a","name":"A","x":NUMBERS}"#),
        (_, "/api/secrets/") => list(r#"{"key":"K","value":NUMBERS}"#),
        _ => r#"{"success":true,"data":{"id":1,"slug":"a","name":"A","x":NUMBERS}}"#.to_owned(),
    };
    text.replace("NUMBERS", NUMBERS)
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let body = answer(&method.to_uppercase(), path);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn server() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    (url, task)
}

#[tokio::test]
async fn every_output_has_numbers_as_they_came() {
    let (url, task) = server().await;
    let folder = Folder::new();
    folder.write("f.py", "def main(params):\n    return 1\n");
    let commands = [
        &["function", "run", "f", "--app", "a"][..],
        &["function", "run", "f", "--app", "a", "--json"],
        &["function", "list", "--json"],
        &["function", "show", "f", "--app", "a", "--json"],
        &["function", "versions", "f", "--app", "a", "--json"],
        &["function", "deploy", "f.py", "--app", "a", "--json"],
        &["app", "list", "--json"],
        &["app", "show", "a", "--json"],
        &["secret", "list", "--json"],
        &["events", "list", "--json"],
        &["events", "explain", "PRE_USER_CREATE", "--json"],
        &[
            "events",
            "subscribe",
            "PRE_USER_CREATE",
            "f",
            "--app",
            "a",
            "--json",
        ],
        &["invocations", "list", "--json"],
        &["invocations", "show", "7"],
        &["invocations", "show", "7", "--json"],
        &["dead-letters", "show", "7"],
    ];
    for command in commands {
        let variables = [("TOLLGATE_URL", url.as_str()), ("TOLLGATE_API_KEY", "key")];
        let said = folder.run_with(command, &variables).await.ok();
        let blank = |letter: char| letter.is_whitespace();
        let plain: String = said.split(blank).collect();
        assert!(plain.contains(NUMBERS), "{command:?}\n{said}");
    }
    task.abort();
}
