//! `kill -9` under load, twenty times in a row on one folder: every acknowledged user has its PRE
//! records and its finished POST run, every other one is whole or absent.

use super::checker::check;
use super::history::History;
use super::load::{Writers, settled, subscribed, times_run};
use super::seed::{Seed, long};
use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::json;
use std::sync::Arc;

const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_lose_nothing() {
    let seed = Seed::from_env();
    let history = History::begin("twenty-kills", &seed);
    let mut server = Server::without_walls(&Arc::new(Folder::new())).await;
    let folder = Arc::clone(&server.folder);
    subscribed(&history, &server.api, &folder).await;
    let kills = if long() { 100 } else { 20 };
    for kill in 0..kills {
        let writers = Writers::start(&history, &server.api, kill, CLIENTS);
        writers.answered(1 + seed.below(60)).await;
        history.look(&server.api, 1).await;
        history.note(&json!({"did": "kill", "number": kill}));
        server.kill().await;
        writers.gone().await;
        server = Server::without_walls(&folder).await;
    }
    settled(&server.api).await;
    history.look(&server.api, usize::MAX).await;
    server.stop().await;

    let found = check(&history, &folder);
    let times = times_run(&folder);
    let greets = found.rows.iter().filter(|row| row.function == "greets");
    for row in greets {
        assert_eq!(row.state, "succeeded", "{row:?}");
        let ran = times.get(&row.task_id).copied().unwrap_or_default();
        assert!(
            (1..=row.uncounted + 2).contains(&ran),
            "ran {ran} times: {row:?}"
        );
    }
    let twice = times.values().filter(|times| **times > 1).count();
    let counts = format!(
        "{kills} kills: {} acknowledged users, all whole; {} unacknowledged and whole, {} absent; \
         {} POST runs started again, {twice} of them had run to their end before\n",
        found.acknowledged,
        found.whole_unacknowledged,
        found.absent,
        found.run_again(),
    );
    eprint!("{counts}");
    assert!(found.acknowledged >= kills);
}
