//! E18: webhooks at every spelling of a private address, at names that lead there, at a name that
//! leads there the second time, and at endpoints that redirect there. Nobody ever connects.

use crate::support::api::Answer;
use crate::support::folder::Folder;
use crate::support::net::{Canary, Names};
use crate::support::server::Server;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Nobody has it: the IANA has given out nothing of 2d00::/8. A packet to it ends where it began.
const PUBLIC: &str = "2d00::1";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Hosts that mean this machine, its network, or a service beside it.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "%31%32%37.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "169.254.169.254",
    "0xa9fea9fe",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "[fd00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "224.0.0.1",
    "255.255.255.255",
    "user@example.com",
    "example.com@127.0.0.1",
];

/// What names lead to, at their first look-up and later.
fn answers(name: &str, time: usize) -> Vec<IpAddr> {
    let addresses: &[&str] = match (name, time) {
        ("loopback.test", _) => &["127.0.0.1"],
        ("loopback6.test", _) => &["::1"],
        ("mapped.test", _) => &["::ffff:127.0.0.1"],
        ("nat64.test", _) => &["64:ff9b::7f00:1"],
        ("metadata.test", _) => &["169.254.169.254"],
        ("mixed.test", _) => &["127.0.0.1", PUBLIC],
        ("rebinding.test", 1) => &[PUBLIC],
        ("rebinding.test", _) => &["127.0.0.1"],
        _ => &[],
    };
    addresses.iter().map(|it| it.parse().unwrap()).collect()
}

async fn canaries() -> Vec<Canary> {
    let mut canaries = vec![Canary::at(LOOPBACK).await];
    // A machine without IPv6 has one canary less.
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        canaries.push(Canary::at(Ipv6Addr::LOCALHOST.into()).await);
    }
    canaries
}

/// A server with an app, which is also told of a proxy that it must not use.
async fn server(canary: &Canary, settings: &[(&str, &str)]) -> Server {
    let proxy = format!("http://{}", canary.address);
    let mut all = vec![
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", &proxy),
        ("ALL_PROXY", &proxy),
        ("TOLLGATE_OUTBOUND__PORTS", "[]"),
    ];
    all.extend_from_slice(settings);
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &all).await;
    server.api.app("hooks").await;
    server
}

fn refused_call(answer: &Answer, address: &str) -> String {
    let message = answer.refused(400, "FUNCTION_FAILED");
    assert!(!message.contains(address), "shows the address: {message}");
    let kind = &answer.body["data"]["invocation"]["error"]["kind"];
    assert_eq!(kind, "upstream", "{message}");
    message.to_owned()
}

#[tokio::test]
async fn private_addresses_are_never_called() {
    let canaries = canaries().await;
    let names = Names::serving(answers).await;
    let dns = names.address.to_string();
    let server = server(&canaries[0], &[("TOLLGATE_OUTBOUND__DNS_SERVER", &dns)]).await;
    let api = &server.api;
    for canary in &canaries {
        let port = canary.address.port();
        for host in SPELLINGS {
            let url = format!("http://{host}:{port}/");
            let answer = api.proxy("hooks", "spelt", &url, &json!({})).await;
            answer.refused(400, "VALIDATION_ERROR");
            assert_eq!(answer.body["errors"][0]["field"], "webhook_url", "{url}");
            let shown = answer.body["errors"].to_string();
            assert!(!shown.contains(host) || *host == "0", "{url}: {shown}");
        }
    }
    let port = canaries[0].address.port();
    for name in [
        "loopback.test",
        "loopback6.test",
        "mapped.test",
        "nat64.test",
        "metadata.test",
        "mixed.test",
        "localhost",
    ] {
        let slug = name.replace('.', "-");
        let url = format!("http://{name}:{port}/hook");
        api.proxy("hooks", &slug, &url, &json!({})).await.ok();
        let message = refused_call(&api.execute("hooks", &slug, &json!({})).await, name);
        assert!(message.contains("was not called"), "{name}: {message}");
    }
    // Both look-ups are at the moment of a connection, so that the second one decides again.
    let options = json!({"timeout_seconds": 2});
    let url = format!("http://rebinding.test:{port}/");
    api.proxy("hooks", "rebinding", &url, &options).await.ok();
    let first = api.execute("hooks", "rebinding", &json!({})).await;
    let message = first.refused(400, "FUNCTION_FAILED").to_owned();
    assert!(!message.contains("was not called"), "{message}");
    let second = api.execute("hooks", "rebinding", &json!({})).await;
    let message = refused_call(&second, "rebinding");
    assert!(message.contains("was not called"), "{message}");
    assert!(names.asked("rebinding.test") >= 2);
    server.stop().await;
    for canary in canaries {
        canary.untouched().await;
    }
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let canary = Canary::at(LOOPBACK).await;
    let settings = [("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true")];
    let mut server = server(&canary, &settings).await;
    let warned = server.stderr.line("outbound.allow_private").await;
    assert!(warned.contains("WARN"), "{warned}");
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let endpoint = MockServer::start().await;
        let target = format!("http://{}/", canary.address);
        let redirect = ResponseTemplate::new(status).insert_header("location", &*target);
        let asked = Mock::given(method("POST")).respond_with(redirect);
        asked.expect(1).mount(&endpoint).await;
        let slug = format!("redirect-{status}");
        let url = endpoint.uri();
        server
            .api
            .proxy("hooks", &slug, &url, &json!({}))
            .await
            .ok();
        let answer = server.api.execute("hooks", &slug, &json!({})).await;
        let message = refused_call(&answer, &canary.address.to_string());
        assert!(message.contains("redirects are not followed"), "{message}");
    }
    // What is nobody's own network stays out of reach with it.
    for host in ["169.254.169.254", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"] {
        let url = format!("http://{host}/");
        let answer = server.api.proxy("hooks", "never", &url, &json!({})).await;
        answer.refused(400, "VALIDATION_ERROR");
    }
    server.stop().await;
    canary.untouched().await;
}
