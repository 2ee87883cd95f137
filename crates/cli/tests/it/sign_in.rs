//! A stranger who guesses passwords, and the owner of the account who signs in meanwhile.

use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const EMAIL: &str = "admin@example.com";
const PASSWORD: &str = "correct horse";
/// Far more than a slowed sign-in and the attempts before it take, far less than a lockout.
const BOUND: Duration = Duration::from_secs(20);

async fn server() -> Server {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_ADMIN_PASSWORD", PASSWORD)];
    Server::start_in(&folder, &[], &settings).await
}

fn stranger(server: &Server, n: u8) -> Api {
    server.api.seen_from(IpAddr::from([127, 0, 9, n]))
}

async fn owner_gets_in(server: &Server) {
    let began = Instant::now();
    server.api.sign_in(EMAIL, PASSWORD).await.ok();
    let took = began.elapsed();
    assert!(took < BOUND, "{took:?}");
}

#[tokio::test]
async fn a_stranger_is_refused_in_the_end_and_the_owner_never() {
    let server = server().await;
    let stranger = stranger(&server, 1);
    let mut statuses = BTreeMap::new();
    for n in 0..14 {
        // The address may be spelt in any way: it is one account.
        let name = if n % 2 == 0 {
            EMAIL
        } else {
            "ＡＤＭＩＮ@example.COM"
        };
        let answer = stranger.sign_in(name, "wrong horse").await;
        *statuses.entry(answer.status).or_insert(0) += 1;
    }
    assert!(statuses[&401] >= 10, "{statuses:?}");
    assert!(statuses[&429] >= 1, "{statuses:?}");
    // Not with the right password either, from there.
    stranger
        .sign_in(EMAIL, PASSWORD)
        .await
        .refused(429, "RATE_LIMITED");
    for _ in 0..12 {
        owner_gets_in(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_guesses_from_many_addresses_leaves_the_owner_a_turn() {
    let server = server().await;
    let mut flood = tokio::task::JoinSet::new();
    for n in 1..=20 {
        for guess in 0..10 {
            let stranger = stranger(&server, n);
            let name = if guess % 2 == 0 {
                EMAIL
            } else {
                "nobody@example.com"
            };
            flood.spawn(async move { stranger.sign_in(name, "wrong horse").await.status });
        }
    }
    owner_gets_in(&server).await;
    let mut refused = 0;
    while let Some(status) = flood.join_next().await {
        let status = status.unwrap();
        assert!(matches!(status, 401 | 429), "{status}");
        refused += u32::from(status == 429);
        if refused == 1 {
            owner_gets_in(&server).await;
        }
    }
    owner_gets_in(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_header_of_a_stranger_says_nothing_of_where_they_are() {
    let server = server().await;
    let stranger = stranger(&server, 1);
    let mut last = 0;
    for n in 0..12 {
        let body = serde_json::json!({"username": EMAIL, "password": "wrong horse"});
        let asking = stranger
            .request(reqwest::Method::POST, "/api/auth/jwt/token/")
            .header("x-forwarded-for", format!("10.0.0.{n}"))
            .json(&body);
        last = stranger.try_send(asking).await.unwrap().status;
    }
    assert_eq!(last, 429);
    server.stop().await;
}
