//! E21: hostile bodies for every operation that takes one. Each gets a 4xx in the usual shape, and its
//! connection goes on. Nobody gives themselves what is not theirs to give.

use super::operations::{self, Operation};
use crate::support::api::{Api, bearer};
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::wire::{Reply, Wire};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const JSON: &str = "application/json";
const OVERSIZE: usize = 1024 * 1024 + 1;
const PASSWORD: &str = "correct horse";

/// Bodies that are refused wherever they are sent, with their content type.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = |open: &str, close: &str| {
        format!("{{\"a\":{}1{}}}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let mut bodies = vec![
        ("equal keys", text(r#"{"name":"a","name":"b"}"#), JSON),
        (
            "equal keys, one escaped",
            text(r#"{"name":1,"n\u0061me":2}"#),
            JSON,
        ),
        ("equal keys inside", text(r#"{"x":{"a":1,"a":2}}"#), JSON),
        ("deep arrays", deep("[", "]"), JSON),
        ("deep objects", deep("{\"a\":", "}"), JSON),
        ("deep and not closed", text(&"[".repeat(10_000)), JSON),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec(), JSON),
        ("overlong UTF-8", b"{\"name\":\"\xc0\xaf\"}".to_vec(), JSON),
        (
            "a surrogate in UTF-8",
            b"{\"name\":\"\xed\xa0\x80\"}".to_vec(),
            JSON,
        ),
        (
            "two byte order marks",
            b"\xef\xbb\xbf\xef\xbb\xbf{}".to_vec(),
            JSON,
        ),
        ("a byte order mark inside", b"{\xef\xbb\xbf}".to_vec(), JSON),
        ("UTF-16", b"{\0}\0".to_vec(), JSON),
        ("NUL", b"{\"name\":\"a\0b\"}".to_vec(), JSON),
        ("escaped NUL", text(r#"{"name":"a\u0000b"}"#), JSON),
        ("NUL in a key", text(r#"{"na\u0000me":1}"#), JSON),
        ("half a surrogate pair", text(r#"{"name":"\ud800"}"#), JSON),
        ("the other half", text(r#"{"name":"\udc00x"}"#), JSON),
        ("1e400", text(r#"{"name":1e400}"#), JSON),
        ("-1e400", text(r#"{"name":-1e400}"#), JSON),
        ("Infinity", text(r#"{"name":Infinity}"#), JSON),
        ("NaN", text(r#"{"name":NaN}"#), JSON),
        ("not closed", text(r#"{"name":"#), JSON),
        ("two values", text("{} {}"), JSON),
        ("a comment", text("{} // x"), JSON),
        ("single quotes", text("{'name':1}"), JSON),
        ("oversize", vec![b' '; OVERSIZE], JSON),
    ];
    for other in [
        "[]",
        "[{}]",
        "[1,2,3]",
        "[\"a.b.c\"]",
        "null",
        "true",
        "1",
        "\"x\"",
    ] {
        bodies.push(("no object", text(other), JSON));
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        "application/octet-stream",
    ] {
        bodies.push(("another content type", text("{}"), kind));
    }
    bodies
}

fn request(api: &Api, credential: &str, operation: &Operation, kind: &str, body: &[u8]) -> Vec<u8> {
    let Operation { method, path, .. } = operation;
    let host = api.url.strip_prefix("http://").unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: {credential}\r\n\
         content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn check(what: &str, reply: &Reply) {
    assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
    assert_eq!(reply.body["success"], false, "{what}: {reply:?}");
    assert!(reply.body["code"].is_string(), "{what}: {reply:?}");
    let message = reply.body["message"].as_str().unwrap();
    assert!(message.len() < 1000, "{what}: {message}");
}

async fn demo() -> (Server, Vec<Operation>) {
    let settings = [("TOLLGATE_ADMIN_PASSWORD", PASSWORD)];
    let server = Server::start_in(&Arc::new(Folder::new()), &["--demo"], &settings).await;
    let mut operations = operations::all(&server.api).await;
    operations.retain(|operation| operation.fields.is_some());
    assert!(operations.len() > 20, "{}", operations.len());
    (server, operations)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_is_refused_and_the_connection_goes_on() {
    let (server, operations) = demo().await;
    let url = &server.api.url;
    let credential = server.api.credential().to_owned();
    let mut wire = Wire::open(url).await;
    for operation in &operations {
        // What wants no credential counts attempts, and refuses the rest by number.
        for (name, body, kind) in hostile() {
            let what = format!("{name} for {}", operation.id);
            let sent = request(&server.api, &credential, operation, kind, &body);
            // A server that has answered already may have stopped reading.
            let _ = wire.send(&sent).await;
            let reply = wire.reply().await;
            let reply = reply.unwrap_or_else(|| panic!("no answer to {what}"));
            check(&what, &reply);
            let oversize = body.len() == OVERSIZE;
            assert!(oversize || !reply.closes(), "{what}: {reply:?}");
            if reply.closes() {
                wire.ended().await;
                wire = Wire::open(url).await;
            }
        }
        let host = url.strip_prefix("http://").unwrap();
        let head = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
        wire.send(head.as_bytes()).await.unwrap();
        assert_eq!(wire.reply().await.unwrap().status, 200, "{}", operation.id);
    }
    let said = server.stderr.so_far();
    assert!(!said.contains("ERROR"), "{said}");
    server.stop().await;
}

/// Without a length nothing tells beforehand how much will come.
#[tokio::test]
async fn what_comes_in_pieces_is_bounded_too() {
    let (server, operations) = demo().await;
    let piece = vec![b' '; 64 * 1024];
    let size = format!("{:x}\r\n", piece.len());
    let pieces = [size.as_bytes(), &piece, b"\r\n"].concat();
    let pieces = pieces.repeat(OVERSIZE / piece.len() + 1);
    let asked = operations.iter().map(async |operation| {
        let mut wire = Wire::open(&server.api.url).await;
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: h\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\
             content-type: {JSON}\r\n\r\n",
            operation.method,
            operation.path,
            server.api.credential()
        );
        wire.send(head.as_bytes()).await.unwrap();
        // A server that has answered already may have stopped reading.
        let _ = wire.send(&pieces).await;
        let reply = wire.reply().await;
        let reply = reply.unwrap_or_else(|| panic!("no answer: {}", operation.id));
        check(&operation.id, &reply);
        assert_eq!(reply.status, 413, "{}: {reply:?}", operation.id);
        wire.ended().await;
    });
    join_all(asked).await;
    server.stop().await;
}

/// Values that fit no field or hardly any; where one does fit, the request may succeed.
fn values() -> [Value; 10] {
    [
        json!(9_223_372_036_854_775_808_u64),
        json!(i64::MIN),
        json!(-1),
        json!(1e308),
        json!(0.1),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!("x".repeat(10_000)),
        json!("\u{202e}\u{7f}\u{feff}"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_field_is_a_server_error() {
    let (server, operations) = demo().await;
    for operation in &operations {
        for name in operation.fields.iter().flatten() {
            for value in values() {
                let method: Method = operation.method.parse().unwrap();
                let request = server.api.request(method, &operation.path);
                let request = request.json(&json!({name.clone(): value}));
                let answer = server.api.try_send(request).await.unwrap();
                let shown = value.to_string();
                let what = format!("{} {name}: {}", operation.id, &shown[..shown.len().min(40)]);
                assert!(answer.status < 500, "{what}: {answer:?}");
                if answer.status >= 400 {
                    assert!(answer.body["code"].is_string(), "{what}: {answer:?}");
                }
            }
        }
    }
    let said = server.stderr.so_far();
    assert!(!said.contains("ERROR"), "{said}");
    server.stop().await;
}

/// What the server decides, and no request.
const NOT_GIVEN: [&str; 12] = [
    "is_superuser",
    "id",
    "pk",
    "site_id",
    "site",
    "uuid",
    "is_deleted",
    "date_joined",
    "created_at",
    "password_hash",
    "revision",
    "app_id",
];

#[tokio::test]
async fn what_is_not_for_a_request_to_set_is_refused_by_name() {
    let (server, operations) = demo().await;
    let mut refused = 0;
    for operation in &operations {
        let fields = operation.fields.as_deref().unwrap();
        if fields.is_empty() {
            // People keep there what they like.
            continue;
        }
        for name in NOT_GIVEN {
            if fields.iter().any(|field| field == name) {
                continue;
            }
            for value in [json!(true), json!(1), json!("x"), json!(null)] {
                let method: Method = operation.method.parse().unwrap();
                let request = server.api.request(method, &operation.path);
                let mut body = json!({name: value});
                if fields.iter().any(|field| field == "function_id") {
                    // Without it nobody knows what the rest is about.
                    body["function_id"] = json!(1);
                }
                let request = request.json(&body);
                let answer = server.api.try_send(request).await.unwrap();
                if answer.status == 200 {
                    // What a GET shows may be sent back as it is.
                    let body = &answer.body;
                    let shown = body["data"].as_object().or(body.as_object()).unwrap();
                    assert_eq!(shown.get(name), Some(&value), "{} {body}", operation.id);
                    continue;
                }
                if answer.status == 404 && operation.path.contains("ABSENT") {
                    // There is nothing to compare what only the server sets with.
                    continue;
                }
                let message = answer.refused(400, "VALIDATION_ERROR");
                assert!(message.contains(name), "{} {message}", operation.id);
                refused += 1;
            }
        }
    }
    assert!(refused > 800, "{refused}");
    server.stop().await;
}

/// Every way to more than one has, for everybody below a superuser.
#[tokio::test]
async fn nobody_raises_themselves() {
    let (server, _) = demo().await;
    let api = &server.api;
    for (name, roles) in [
        ("plain", vec![]),
        ("boss", vec!["admin"]),
        ("owner", vec!["user-management:admin"]),
    ] {
        let email = format!("{name}@example.com");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        api.post("/api/users/", &body).await.ok();
        if !roles.is_empty() {
            let body = json!({"roles": roles, "usernames": [name]});
            api.post("/api/assign/roles/", &body).await.ok();
        }
    }
    let root = api.get("/api/users/admin/").await.ok();
    for name in ["plain", "boss", "owner"] {
        let me = api.with(&bearer(api.sign_in(name, PASSWORD).await));
        let own = format!("/api/users/{name}/");
        for field in ["is_staff", "is_superuser"] {
            for (method, path, body) in [
                (Method::PATCH, own.as_str(), json!({field: true})),
                (Method::PUT, &own, json!({field: true})),
                (Method::PATCH, &own, json!({"first_name": "x", field: true})),
                (
                    Method::POST,
                    "/api/users/",
                    json!({"username": "new", "email": "new@example.com", field: true}),
                ),
            ] {
                for path in [path.to_owned(), path.replace("/api/", "/api/cloud/")] {
                    let request = me.request(method.clone(), &path).json(&body);
                    let answer = me.try_send(request).await.unwrap();
                    let refused = matches!(answer.status, 400 | 403);
                    assert!(refused, "{name} {method} {path} {body}: {answer:?}");
                }
            }
        }
        if name != "boss" {
            let body = json!({"roles": ["admin"], "usernames": [name]});
            let answer = me.post("/api/assign/roles/", &body).await;
            answer.refused(403, "FORBIDDEN");
        }
        for field in ["is_active", "password", "email"] {
            let value = json!({"is_active": false, "password": "another horse", "email": "x@y.zz"});
            let request = me.request(Method::PATCH, "/api/users/admin/");
            let request = request.json(&json!({field: value[field]}));
            let answer = me.try_send(request).await.unwrap();
            assert!(
                matches!(answer.status, 403 | 404),
                "{name} {field}: {answer:?}"
            );
        }
        let user = api.get(&own).await.ok();
        assert_eq!(user["data"]["is_staff"], false, "{user}");
        assert_eq!(user["data"]["is_superuser"], false, "{user}");
    }
    api.get("/api/users/new/").await.refused(404, "NOT_FOUND");
    assert_eq!(api.get("/api/users/admin/").await.ok(), root);
    server.stop().await;
}
