//! E9: leases of one second, and many functions that take several: each lease is renewed as long as
//! its holder lives, so each function runs once.

use super::checker::check;
use super::history::History;
use super::load::{held, settled, times_run};
use super::seed::{Seed, long};
use crate::support::folder::Folder;
use crate::support::poll;
use crate::support::server::{Server, WITHOUT_WALLS};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const SETTINGS: [(&str, &str); 3] = [
    WITHOUT_WALLS,
    ("TOLLGATE_EXECUTION__LEASE_SECONDS", "1"),
    ("TOLLGATE_EXECUTION__RUNNING", "1000"),
];
const SEVERAL_LEASES: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_several_leases_runs_once() {
    let history = History::begin("e09", &Seed::from_env());
    let runs = if long() { 400 } else { 40 };
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &SETTINGS).await;
    server.api.app("jobs").await;
    let (code, begun) = held(&folder);
    server.api.function("jobs", "work", &code, &json!({})).await;
    for _ in 0..runs {
        history.queue(&server.api, "jobs", "work").await.unwrap();
    }
    assert!(poll::holds_soon(|| begun.all().len() == runs));
    history.look(&server.api, usize::MAX).await;
    poll::let_pass(SEVERAL_LEASES);
    history.look(&server.api, usize::MAX).await;
    assert_eq!(begun.all().len(), runs, "some began again");
    folder.write("go", "");
    settled(&server.api).await;
    let said = server.stderr.so_far();
    assert!(!said.contains("took over"), "{said}");
    server.stop().await;

    let found = check(&history, &folder);
    let times = times_run(&folder);
    assert_eq!(found.rows.len(), runs);
    for row in &found.rows {
        let counts = (row.attempt, row.uncounted, times.get(&row.task_id));
        assert_eq!(counts, (1, 0, Some(&1)), "{row:?}");
        assert_eq!(row.state, "succeeded", "{row:?}");
    }
}
