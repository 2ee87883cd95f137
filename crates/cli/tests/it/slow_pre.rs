//! Slow PRE functions hold their own callers up and nobody else: no connection and no transaction
//! waits with them, and a caller who goes away takes its process along.

use crate::support::poll;
use crate::support::server::Server;
use crate::support::soon;
use crate::support::watch::Watch;
use serde_json::json;
use tokio::task::JoinSet;

/// More than a function may have at the same time unless it says so.
const CALLS: usize = 100;
/// A site's own: launcher, zygote, spare worker.
const HOST: usize = 3;
const SLOW: &str = "import time\n\n\ndef main(params):\n    time.sleep(300)\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_slow_pre_calls_delay_nobody() {
    let server = Server::start().await;
    let api = &server.api;
    api.app("gate").await;
    let idle = server.processes().len();
    let options = json!({"max_concurrency": CALLS});
    let slow = api.function("gate", "slow", SLOW, &options).await;
    api.subscribe("PRE_USER_CREATE", slow).await;
    let mut watch = Watch::open(api).await;

    let mut callers = JoinSet::new();
    for number in 0..CALLS {
        let body =
            json!({"username": format!("u{number}"), "email": format!("u{number}@example.com")});
        let request = api
            .request(reqwest::Method::POST, "/api/users/")
            .json(&body);
        callers.spawn(request.send());
    }
    let begun = poll::holds_soon(|| server.processes().len() >= idle + HOST + CALLS);
    assert!(begun, "{} processes", server.processes().len());

    // Reads, writes and other functions go on, all while the hundred wait.
    api.get("/api/users/").await.ok();
    api.app("other").await;
    api.function("other", "quick", "def main(params): return 1", &json!({}))
        .await;
    let answer = api.execute("other", "quick", &json!({})).await.ok();
    assert_eq!(answer["data"], 1);
    let path = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";
    api.post(path, &json!({"function_id": slow})).await.ok();
    api.create_user("meanwhile").await.ok();
    let listed = api
        .get("/api/invocations/?status=STARTED&limit=100")
        .await
        .ok();
    assert_eq!(listed["total"], CALLS);
    assert!(
        callers.try_join_next().is_none(),
        "a slow call was answered"
    );

    // Whoever goes away takes the function along: its run is cancelled, its process is gone.
    let running = listed["data"].as_array().unwrap().clone();
    callers.shutdown().await;
    for run in running {
        watch.state(run["id"].as_i64().unwrap(), "cancelled").await;
    }
    let freed = poll::holds_soon(|| server.processes().len() <= idle + HOST + 2);
    assert!(freed, "{} processes", server.processes().len());
    let users = soon("the users", api.get("/api/users/?search=u1"))
        .await
        .ok();
    assert_eq!(users["total"], 0, "nobody was saved");
    server.stop().await;
}
