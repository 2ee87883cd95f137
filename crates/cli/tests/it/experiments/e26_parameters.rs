//! E26 with the real program: what calls are given must not take the server's memory while they wait.

use super::e26_server_spending::{GROWTH_BYTES, Peak, resident};
use crate::support::server::Server;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_core::limits;

const APP: &str = "large";
/// Says how much it was given, after a while.
const CHILD: &str = "\
import time

def main(params):
    time.sleep(0.1)
    return len(params['text'])
";
/// Calls the child in as many threads as there may be, with much in each call.
const PARENT: &str = "\
from concurrent.futures import ThreadPoolExecutor

def main(params, user_data, sdk_client):
    def call(number):
        answer = sdk_client.functions.execute('child', {'text': 'x' * 1_000_000}, app_slug='large')
        return answer['data']

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(call, range(16)))
";

fn large() -> Value {
    json!({"params": {"text": "x".repeat(1_000_000)}})
}

/// Of one site, whose half of the room is full.
#[tokio::test]
async fn callers_who_wait_do_not_take_the_servers_memory() {
    let server = Server::start().await;
    let api = &server.api;
    api.app(APP).await;
    api.function(APP, "child", CHILD, &json!({"max_concurrency": 2}))
        .await;
    api.execute(APP, "child", &large()).await.ok();
    let before = resident(&server);
    let peak = Peak::of(&server);
    let calls = (0..150).map(|_| async { api.execute(APP, "child", &large()).await });
    let answers = join_all(calls.collect::<Vec<_>>()).await;
    let served = answers.iter().filter(|it| it.status == 200).count();
    assert!(served >= 16, "{served}");
    // A body that waits for its turn too long is refused before.
    let refused = answers.iter().filter(|it| ![200, 408].contains(&it.status));
    let refused = refused.map(|it| it.refused(429, "RATE_LIMITED"));
    assert!(refused.count() > 0, "{served} of 150");
    let grown = peak.most().saturating_sub(before);
    println!("{served} served, grew by {} MiB", grown >> 20);
    // A body is there up to three times while it is read, and connections and the database have buffers.
    let room = (limits::PARAMS_BYTES / 2 + 3 * limits::BODIES_BYTES) as u64;
    assert!(grown < room + 2 * GROWTH_BYTES, "{} MiB", grown >> 20);
    // Small ones are served whatever large ones take.
    api.execute(APP, "child", &json!({"params": {"text": "x"}}))
        .await
        .ok();
    server.stop().await;
}

/// Parents and children wait for each other, and all are served.
#[tokio::test]
async fn functions_who_call_with_much_wait_for_room() {
    let server = Server::start().await;
    let api = &server.api;
    api.app(APP).await;
    api.function(APP, "child", CHILD, &json!({"max_concurrency": 2}))
        .await;
    api.function(APP, "parent", PARENT, &json!({})).await;
    api.execute(APP, "child", &large()).await.ok();
    let before = resident(&server);
    let peak = Peak::of(&server);
    let calls = (0..6).map(|_| async { api.execute(APP, "parent", &json!({})).await.ok() });
    for answer in join_all(calls.collect::<Vec<_>>()).await {
        assert_eq!(answer["data"], 16_000_000, "{answer}");
    }
    let grown = peak.most().saturating_sub(before);
    println!("grew by {} MiB", grown >> 20);
    // Half as much again for what the allocator keeps of what has gone.
    let most = GROWTH_BYTES + GROWTH_BYTES / 2;
    assert!(grown < most, "{} MiB", grown >> 20);
    server.stop().await;
}
