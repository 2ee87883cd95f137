//! E25: one site queues far more than can run; another site's PRE and POST functions run at once all
//! the same. Beyond its bound the first is refused with 429. A stop under that load ends within the grace
//! period, hands everything back and loses nothing.

use super::checker::{check, rows_of};
use super::history::History;
use super::load::{BegunRuns, held, open_runs, settled, times_run};
use super::seed::{Seed, long};
use crate::support::api::Api;
use crate::support::code::{AGREE, ECHO};
use crate::support::folder::Folder;
use crate::support::server::{Server, WITHOUT_WALLS};
use crate::support::watch::Watch;
use crate::tenants::{acme, two_sites_with};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const CLIENTS: usize = 16;
/// In memory at most, of which one site may have half.
const IN_MEMORY: usize = 64;
const RUNNING: usize = 8;
const GRACE_SECONDS: u64 = 1;
/// For what follows the grace period: killing interpreters, handing back, closing the database.
const TO_CLOSE: Duration = Duration::from_secs(4);

/// Queues runs until the site's bound refuses one; how many were taken.
async fn queue_to_the_bound(history: &History, api: &Api, bound: usize) -> usize {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (history, api) = (history.clone(), api.clone());
        clients.spawn(async move {
            let mut taken = 0;
            while history.queue(&api, "jobs", "slow").await.is_some() {
                taken += 1;
                assert!(taken <= bound + IN_MEMORY, "nothing is refused");
            }
            taken
        });
    }
    clients.join_all().await.into_iter().sum()
}

/// A PRE and a POST function on this site.
async fn subscribe_both(history: &History, api: &Api) {
    api.app("checks").await;
    for (slug, code, event) in [
        ("agrees", AGREE, "PRE_USER_CREATE"),
        ("greets", ECHO, "POST_USER_CREATE"),
    ] {
        let id = api.function("checks", slug, code, &json!({})).await;
        history.subscribe(api, event, slug, id).await;
    }
}

/// Nobody has any of the backlog, and only what had begun shows it; no attempt is used up.
fn all_handed_back(folder: &Folder, taken: usize, begun: &BegunRuns) {
    let begun: BTreeSet<_> = begun.all().into_iter().map(|(task, _)| task).collect();
    let rows = rows_of(folder);
    let slow: Vec<_> = rows.iter().filter(|row| row.function == "slow").collect();
    assert_eq!(slow.len(), taken);
    for row in &slow {
        assert_eq!((&*row.state, &row.holder), ("pending", &None), "{row:?}");
        assert_eq!(row.attempt, row.uncounted, "{row:?}");
        assert!(
            row.uncounted == 1 || !begun.contains(&row.task_id),
            "{row:?}"
        );
    }
    let lost = slow.iter().filter(|row| row.uncounted > 0).count();
    assert!((begun.len()..=RUNNING).contains(&lost), "{lost} had begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_its_own_sites_misfortune() {
    let history = History::begin("e25", &Seed::from_env());
    // Calls fill three quarters of the queue; the rest is for events.
    let bound = if long() { 9_000 } else { 450 };
    let waiting = (bound / 3 * 4).to_string();
    let in_memory = IN_MEMORY.to_string();
    let (running, grace) = (RUNNING.to_string(), GRACE_SECONDS.to_string());
    let settings = [
        WITHOUT_WALLS,
        ("TOLLGATE_EXECUTION__WAITING_PER_SITE", &*waiting),
        ("TOLLGATE_EXECUTION__IN_MEMORY", &*in_memory),
        ("TOLLGATE_EXECUTION__RUNNING", &*running),
        ("TOLLGATE_GRACE_SECONDS", &*grace),
    ];
    let (server, quiet) = two_sites_with(&settings).await;
    let folder = Arc::clone(&server.folder);
    server.api.app("jobs").await;
    let (code, begun) = held(&folder);
    server.api.function("jobs", "slow", &code, &json!({})).await;
    subscribe_both(&history, &quiet).await;

    let taken = queue_to_the_bound(&history, &server.api, bound).await;
    assert!(
        (bound..=bound + IN_MEMORY).contains(&taken),
        "{taken} taken"
    );
    let body = json!({"async": true});
    let refused = server.api.execute("jobs", "slow", &body).await;
    refused.refused(429, "RATE_LIMITED");

    // By order, not by time: the other site's runs end while not one of the backlog has.
    for number in 0..20 {
        let name = format!("quiet-{number}");
        assert_eq!(history.create_user(&quiet, &name).await, Some(201));
    }
    let mut watch = Watch::open(&quiet).await;
    for run in quiet.runs_of("greets").await {
        let run = watch.ended(run["id"].as_i64().unwrap()).await;
        assert_eq!(run["state"], "succeeded", "{run}");
    }
    assert_eq!(open_runs(&server.api).await, taken as u64);
    let under_way = begun.all().len();
    assert!((1..RUNNING).contains(&under_way), "{under_way} run");

    history.note(&json!({"did": "terminate"}));
    let grace = Duration::from_secs(GRACE_SECONDS);
    server.stop_within(grace + TO_CLOSE).await;
    assert!(times_run(&folder).is_empty());
    all_handed_back(&folder, taken, &begun);
    folder.write("go", "");
    let server = Server::without_walls(&folder).await;
    settled(&server.api).await;
    settled(&acme(&server).await).await;
    history.look(&server.api, 5).await;
    server.stop().await;
    let found = check(&history, &folder);
    let times = times_run(&folder);
    let slow = found.rows.iter().filter(|row| row.function == "slow");
    for row in slow.clone() {
        assert_eq!(row.state, "succeeded", "{row:?}");
        assert_eq!(times.get(&row.task_id), Some(&1), "{row:?}");
    }
    assert_eq!(slow.count(), taken);
}
