//! Raw requests through the real program: signatures over exact bytes, and answers that are the function's own.

use crate::support::folder::Folder;
use crate::support::server::Server;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// As Stripe's library does it: `t=…,v1=…`, an HMAC-SHA256 over time and bytes.
const STRIPE: &str = "\
import hashlib, hmac, json, os

SECRET = os.environ['SIGNING']

def main(params):
    parts = dict(it.split('=', 1) for it in params['headers']['stripe-signature'].split(','))
    signed = parts['t'].encode() + b'.' + params['body'].encode()
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts['v1']):
        return {'status': 400, 'body': 'bad signature'}
    event = json.loads(params['body'])
    return {'status': 200, 'headers': {'Content-Type': 'application/json', 'X-Event': event['type']},
        'body': json.dumps({'received': event['id']})}
";

/// As GitHub signs, over bytes that may be no text.
const GITHUB: &str = "\
import base64, hashlib, hmac

def main(params):
    if params['method'] == 'GET':
        return {'status': 200, 'body': params['query']['challenge']}
    body = base64.b64decode(params['body_base64'])
    expected = 'sha256=' + hmac.new(b'hush', body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, params['headers'].get('x-hub-signature-256', '')):
        return {'status': 401, 'headers': {'WWW-Authenticate': 'Signature'}}
    return {'status': 202, 'body_base64': base64.b64encode(body[::-1]).decode()}
";

/// Says what it was told, or answers what it is told to.
const MIRROR: &str = "\
import json

def main(params):
    params.pop('__function__')
    if params['method'] == 'POST' and params['body'].startswith('{'):
        return json.loads(params['body'])
    return {'status': 200, 'headers': {'Content-Type': 'application/json'}, 'body': json.dumps(params)}
";

/// With the standard library of the machine's Python, so that both sides are not this program.
fn hmac(key: &str, bytes: &[u8]) -> String {
    let code = "import sys,hmac,hashlib; print(hmac.new(sys.argv[1].encode(), bytes.fromhex(sys.argv[2]), hashlib.sha256).hexdigest())";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = std::process::Command::new("python3")
        .args(["-c", code, key, &hex])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn path(function: &str) -> String {
    format!("/api/public/apps/shop/functions/{function}/execute/")
}

async fn send(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let mut request = server.api.anonymous().request(method, path).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn raw(server: &Server, name: &str, code: &str, more: Value) {
    let mut options = json!({"is_public": true, "request": "raw"});
    options
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    server.api.function("shop", name, code, &options).await;
}

/// What the mirror answers when it is told to answer this.
async fn answer(server: &Server, what: Value) -> Response {
    let body = what.to_string().into();
    send(server, Method::POST, &path("mirror"), &[], body).await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn signatures_hold_over_the_exact_bytes_that_were_sent() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    server.api.app("shop").await;
    let secret = json!({"key": "STRIPE", "value": "whsec_of_stripe"});
    server
        .api
        .post("/api/secrets/?app=shop", &secret)
        .await
        .ok();
    raw(
        &server,
        "stripe",
        STRIPE,
        json!({"secret_env": {"SIGNING": "STRIPE"}}),
    )
    .await;

    // Spaces, order, escapes and the last line break are part of what is signed.
    let event = "{ \"type\" : \"charge.ok\",\n  \"id\":\"evt_1\", \"n\": 1.00, \"name\": \"\\u00e4 \u{e4}\" }\n";
    let signature = hmac("whsec_of_stripe", format!("1700000000.{event}").as_bytes());
    let signature = format!("t=1700000000,v1={signature}");
    let headers = [
        ("stripe-signature", &*signature),
        ("content-type", "application/json; charset=utf-8"),
    ];
    let good = send(
        &server,
        Method::POST,
        &path("stripe"),
        &headers,
        event.into(),
    )
    .await;
    assert_eq!(
        (good.status().as_u16(), header(&good, "x-event")),
        (200, "charge.ok")
    );
    assert_eq!(header(&good, "content-type"), "application/json");
    assert_eq!(good.text().await.unwrap(), "{\"received\": \"evt_1\"}");
    let other = event.replace("1.00", "1.0");
    let bad = send(
        &server,
        Method::POST,
        &path("stripe"),
        &headers,
        other.into(),
    )
    .await;
    assert_eq!(
        (bad.status().as_u16(), bad.text().await.unwrap()),
        (400, "bad signature".to_owned())
    );
    server.stop().await;
}

#[tokio::test]
async fn a_signature_holds_over_bytes_that_are_no_text_and_a_challenge_is_answered() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    server.api.app("shop").await;
    raw(&server, "github", GITHUB, json!({})).await;
    let body = vec![0x1f, 0x8b, 0, 0xff, b'\r', b'\n', 0xc3];
    let signature = format!("sha256={}", hmac("hush", &body));
    let headers = [
        ("x-hub-signature-256", &*signature),
        ("content-type", "application/octet-stream"),
    ];
    let good = send(
        &server,
        Method::POST,
        &path("github"),
        &headers,
        body.clone(),
    )
    .await;
    assert_eq!(good.status(), 202);
    let reversed: Vec<u8> = body.iter().rev().copied().collect();
    assert_eq!(good.bytes().await.unwrap(), reversed);
    let bad = send(&server, Method::POST, &path("github"), &headers, vec![1]).await;
    assert_eq!(
        (bad.status().as_u16(), header(&bad, "www-authenticate")),
        (401, "Signature")
    );
    let query = format!("{}?challenge=a%20b&hub.mode=x", path("github"));
    let challenge = send(&server, Method::GET, &query, &[], Vec::new()).await;
    assert_eq!(challenge.text().await.unwrap(), "a b");
    server.stop().await;
}

#[tokio::test]
async fn a_raw_function_is_told_the_request_without_credentials() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    server.api.app("shop").await;
    raw(&server, "mirror", MIRROR, json!({})).await;
    let credential = server.api.credential();
    for method in ["GET", "PUT", "PATCH", "DELETE", "POST"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = "/api/public/apps/shop/functions/mirror/execute?a=1&a=%C3%A4&b";
        let headers = [
            ("authorization", credential),
            ("cookie", "session=canary"),
            ("x-session-token", "canary"),
            ("idempotency-key", "of-the-sender"),
            ("x-many", "one"),
            ("x-many", "two"),
        ];
        let answer = send(&server, method.clone(), asked, &headers, b"plain".to_vec()).await;
        assert_eq!(answer.status(), 200);
        let told: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(told["method"], method.as_str());
        // As it was sent: some sign the address.
        assert_eq!(
            told["path"],
            "/api/public/apps/shop/functions/mirror/execute"
        );
        assert_eq!(told["query_string"], "a=1&a=%C3%A4&b");
        assert_eq!(told["query"], json!({"a": "\u{e4}", "b": ""}));
        assert_eq!(
            (&told["body"], &told["body_base64"]),
            (&json!("plain"), &json!("cGxhaW4="))
        );
        let headers = told["headers"].as_object().unwrap();
        assert_eq!(headers["x-many"], "one, two");
        assert_eq!(headers["idempotency-key"], "of-the-sender");
        for hidden in ["authorization", "cookie", "x-session-token", "connection"] {
            assert!(!headers.contains_key(hidden), "{told}");
        }
        assert!(!told.to_string().contains("canary"), "{told}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_is_the_functions_and_its_framing_the_servers() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    server.api.app("shop").await;
    raw(&server, "mirror", MIRROR, json!({})).await;
    let answer = async |what: Value| answer(&server, what).await;
    let own = answer(json!({"status": 503, "body": "later", "headers": {"Retry-After": 7, "X-Two": ["a", "b"],
        "Content-Length": "99", "Transfer-Encoding": "chunked", "Connection": "close", "Server": "mine",
        "X-Request-Id": "mine", "Date": "never"}}))
    .await;
    assert_eq!(
        (own.status().as_u16(), header(&own, "retry-after")),
        (503, "7")
    );
    let two: Vec<_> = own.headers().get_all("x-two").iter().collect();
    assert_eq!(two, ["a", "b"]);
    for (name, value) in [
        ("content-length", "5"),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(header(&own, name), value, "{name}");
    }
    assert!(!["mine", "never"].contains(&header(&own, "x-request-id")));
    assert_ne!(header(&own, "date"), "never");
    assert_eq!(header(&own, "server"), "");
    assert_eq!(own.text().await.unwrap(), "later");
    let own = answer(json!({"status": 500, "body": "mine"})).await;
    assert_eq!(
        (own.status().as_u16(), own.text().await.unwrap()),
        (500, "mine".to_owned())
    );
    let own = answer(json!({"status": 204, "headers": {"X-A": "1"}})).await;
    assert_eq!((own.status().as_u16(), header(&own, "x-a")), (204, "1"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_result_and_what_cannot_be_sent_a_failure() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    server.api.app("shop").await;
    raw(&server, "mirror", MIRROR, json!({})).await;
    let answer = async |what: Value| answer(&server, what).await;
    // Anything else is what a public call answers.
    let other = answer(json!({"status": "ok"})).await;
    assert_eq!(
        (
            other.status().as_u16(),
            header(&other, "content-security-policy")
        ),
        (200, "")
    );
    let other: Value = serde_json::from_str(&other.text().await.unwrap()).unwrap();
    assert_eq!(other["data"], json!({"status": "ok"}));

    // What cannot be sent is a failed run, whose record says why.
    for (what, words) in [
        (
            json!({"status": 200, "headers": {"X-A": "a\r\nSet-Cookie: b=c"}}),
            "line break",
        ),
        (
            json!({"status": 200, "headers": {"Set-Cookie": "a=b"}}),
            "set-cookie",
        ),
        (json!({"status": 99}), "use 200 to 599"),
    ] {
        let failed = answer(what).await;
        assert_eq!(failed.status(), 400);
        let failed: Value = serde_json::from_str(&failed.text().await.unwrap()).unwrap();
        assert_eq!(failed["code"], "FUNCTION_FAILED");
        assert!(
            !failed.to_string().contains(words),
            "a stranger is told no reason: {failed}"
        );
        let task = failed["task_id"].as_str().unwrap();
        let result = server.api.get(&format!("/api/result/{task}/")).await.ok();
        assert_eq!(result["data"]["status"], "FAILURE");
        let list = server.api.get("/api/invocations/?limit=1").await.ok();
        let error = list["data"][0]["error"].to_string();
        assert!(error.contains(words), "{error}");
    }
    let large = send(
        &server,
        Method::POST,
        &path("mirror"),
        &[],
        vec![b'x'; 1_100_000],
    )
    .await;
    assert_eq!(large.status(), 413);
    server.stop().await;
}

#[tokio::test]
async fn only_raw_public_functions_have_other_methods_and_bodies() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &[]).await;
    let api = &server.api;
    api.app("shop").await;
    let code = "def main(params): return params\n";
    api.function("shop", "plain", code, &json!({"is_public": true}))
        .await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        for function in ["plain", "nowhere"] {
            let refused = send(&server, method.clone(), &path(function), &[], Vec::new()).await;
            assert_eq!(
                (refused.status().as_u16(), header(&refused, "allow")),
                (405, "POST")
            );
        }
    }
    let text = [("content-type", "text/plain")];
    let refused = send(&server, Method::POST, &path("plain"), &text, b"x".to_vec()).await;
    assert_eq!(refused.status(), 415);
    let query = format!("{}?a=1", path("plain"));
    let refused = send(&server, Method::POST, &query, &[], b"{}".to_vec()).await;
    assert_eq!(refused.status(), 400);
    // It has to be public.
    let body = json!({"name": "x", "code": code, "request": "raw"});
    let refused = api.post("/api/apps/shop/functions/", &body).await;
    refused.refused(400, "VALIDATION_ERROR");
    assert_eq!(refused.body["errors"][0]["field"], "request");
    let change = async |body: Value| {
        let request = api.request(Method::PATCH, "/api/apps/shop/functions/plain/");
        api.try_send(request.json(&body)).await.unwrap()
    };
    assert_eq!(
        change(json!({"request": "raw", "async_mode": true}))
            .await
            .ok()["version"],
        1
    );
    // Queued, it answers as every queued run.
    let queued = send(&server, Method::PUT, &query, &text, b"x".to_vec()).await;
    assert_eq!(queued.status(), 202);
    let queued: Value = serde_json::from_str(&queued.text().await.unwrap()).unwrap();
    assert!(queued["task_id"].is_string(), "{queued}");
    // The switch works whatever it takes.
    change(json!({"is_public": false})).await.ok();
    let refused = send(&server, Method::POST, &path("plain"), &[], b"{}".to_vec()).await;
    assert_eq!(refused.status(), 404);
    server.stop().await;
}
