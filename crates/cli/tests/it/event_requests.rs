//! The request behind an event, from the real program: in Python, in a filter on addresses, in a webhook, and after a
//! kill.

use crate::support::api::{Api, bearer};
use crate::support::code::until_exists;
use crate::support::folder::Folder;
use crate::support::server::{Server, WITHOUT_WALLS};
use crate::support::watch::Watch;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

const PASSWORD: &str = "correct horse";

/// Says what it is told of the request.
const TELL: &str = "\
def main(params):
    return {'seen': params['__function__']['request']}
";

/// Refuses whoever comes from one address, in the language that they ask for.
const NO: &str = "\
def main(params):
    return {
        'success': False,
        'error': 'the address is on list 7',
        'user_message': {'de': 'Nicht von dort', 'en': 'Not from there'},
    }
";

const PRIVATE: [(&str, &str); 3] = [
    ("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true"),
    ("TOLLGATE_OUTBOUND__PORTS", "[]"),
    ("TOLLGATE_ADMIN_PASSWORD", PASSWORD),
];

async fn create(api: &Api, name: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let body = json!({"username": name, "email": format!("{name}@example.com")});
    let mut request = api.request(Method::POST, "/api/users/").json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = api.try_send(request).await.unwrap();
    (answer.status, answer.body)
}

/// The administrator, with an access token, from another address of this machine.
async fn from(server: &Server, last: u8) -> Api {
    let signed_in = server.api.sign_in("admin@example.com", PASSWORD).await;
    let there = server.api.seen_from(IpAddr::from([127, 0, 7, last]));
    there.with(&bearer(signed_in))
}

#[tokio::test]
async fn python_webhooks_and_filters_see_it() {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &PRIVATE).await;
    let api = &server.api;
    api.app("events").await;
    let tell = api.function("events", "tell", TELL, &json!({})).await;
    api.subscribe("PRE_USER_CREATE", tell).await;
    let endpoint = MockServer::start().await;
    let ok = ResponseTemplate::new(200).set_body_json(json!({}));
    let mock = Mock::given(method("POST")).respond_with(ok);
    mock.mount(&endpoint).await;
    let hook = api
        .proxy("events", "hook", &endpoint.uri(), &json!({}))
        .await;
    let hook = hook.ok()["id"].as_i64().unwrap();
    api.subscribe("PRE_USER_CREATE", hook).await;
    let no = api.function("events", "no", NO, &json!({})).await;
    let body = json!({"function_id": no, "filter": "event.request.ip == '127.0.7.9'"});
    let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    api.post(path, &body).await.ok();

    let headers = [
        ("user-agent", "trial/1.0"),
        ("x-request-id", "my-request"),
        ("x-forwarded-for", "127.0.7.9"),
    ];
    let (status, body) = create(&from(&server, 8).await, "ann", &headers).await;
    assert_eq!(status, 201, "{body}");
    let run = api.runs_of("tell").await.remove(0);
    let seen = &run["task_result"]["result"]["seen"];
    for (key, value) in [
        // The header is a stranger's word.
        ("ip", json!("127.0.7.8")),
        ("user_agent", json!("trial/1.0")),
        ("credential_kind", json!("jwt")),
        ("host", json!(api.url.trim_start_matches("http://"))),
    ] {
        assert_eq!(seen[key], value, "{key}: {seen}");
    }
    assert_eq!(seen, &run["request"]);
    let delivered = endpoint.received_requests().await.unwrap();
    let delivered: Value = serde_json::from_slice(&delivered[0].body).unwrap();
    assert_eq!(&delivered["request"], seen, "{delivered}");
    assert_eq!(delivered["type"], "PRE_USER_CREATE", "{delivered}");

    let headers = [("accept-language", "de-AT,en;q=0.5")];
    let (status, body) = create(&from(&server, 9).await, "bob", &headers).await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(body["user_message"], "Nicht von dort", "{body}");
    assert!(!body.to_string().contains("list 7"), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn a_trusted_proxys_word_is_taken() {
    let trusting = [PRIVATE[2], ("TOLLGATE_HTTP__TRUST_FORWARDED_FOR", "true")];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &trusting).await;
    let api = &server.api;
    api.app("events").await;
    let tell = api.function("events", "tell", TELL, &json!({})).await;
    api.subscribe("PRE_USER_CREATE", tell).await;
    // What stands before the last entry is what the client had sent.
    let headers = [("x-forwarded-for", "10.1.1.1, 203.0.113.7")];
    let (status, body) = create(api, "ann", &headers).await;
    assert_eq!(status, 201, "{body}");
    let run = api.runs_of("tell").await.remove(0);
    let seen = &run["task_result"]["result"]["seen"];
    assert_eq!(
        (&seen["ip"], &seen["credential_kind"]),
        (&json!("203.0.113.7"), &json!("api_key"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_run_that_survives_a_kill_is_told_of_its_request() {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[WITHOUT_WALLS]).await;
    let file = folder.path().join("go");
    server.api.app("events").await;
    let code = until_exists(&file).replace(
        "return {'for': params.get('username')}",
        "return {'seen': params['__function__']['request']}",
    );
    let id = server
        .api
        .function("events", "tell", &code, &json!({}))
        .await;
    server.api.subscribe("POST_USER_CREATE", id).await;
    let headers = [("user-agent", "before")];
    let (status, body) = create(&server.api, "ann", &headers).await;
    assert_eq!(status, 201, "{body}");
    server.kill().await;

    folder.write("go", "");
    let server = Server::start_in(&folder, &[], &[WITHOUT_WALLS]).await;
    let mut watch = Watch::open(&server.api).await;
    let run = server.api.runs_of("tell").await.remove(0);
    let run = watch.ended(run["id"].as_i64().unwrap()).await;
    let seen = &run["task_result"]["result"]["seen"];
    assert_eq!(seen["user_agent"], "before", "{run}");
    assert_eq!(seen, &run["request"], "{run}");
    server.stop().await;
}
