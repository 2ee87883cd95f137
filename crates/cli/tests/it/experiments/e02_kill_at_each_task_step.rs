//! E2: a worker is killed at every step of a queued run: claim, run, exit, store, acknowledge. Of a
//! thousand tasks none is lost, all end, and only what a kill interrupted runs again.

use super::checker::check;
use super::history::History;
use super::load::{held, settled, times_run, traced};
use super::seed::{Seed, long};
use crate::support::folder::Folder;
use crate::support::poll;
use crate::support::processes::kill;
use crate::support::server::{Server, WITHOUT_WALLS};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use tokio::task::JoinSet;
use tollgate_core::failpoint::Point;

const TASKS: usize = 1000;
const CLIENTS: usize = 8;
/// Queued in one round: more than fits into memory, so that some are claimed.
const PER_ROUND: usize = 80;
const SMALL: [(&str, &str); 3] = [
    WITHOUT_WALLS,
    ("TOLLGATE_EXECUTION__RUNNING", "8"),
    ("TOLLGATE_EXECUTION__IN_MEMORY", "32"),
];
/// Every step, and up to which hit the server may live.
const STEPS: [(Point, usize); 6] = [
    (Point::RunBefore, 30),
    (Point::RunAnswered, 30),
    (Point::ResultBefore, 4),
    (Point::ResultAfter, 4),
    (Point::ClaimTaken, 2),
    (Point::ClaimCommitted, 2),
];

/// Queues `count` runs from several clients; ends early when the server is gone.
async fn queue(history: &History, server: &Server, count: usize) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (history, api) = (history.clone(), server.api.clone());
        let share = count / CLIENTS + usize::from(client < count % CLIENTS);
        clients.spawn(async move {
            for _ in 0..share {
                if history.queue(&api, "jobs", "work").await.is_none() {
                    return;
                }
            }
        });
    }
    clients.join_all().await;
}

fn queued(history: &History) -> usize {
    let lines = history.lines();
    lines.iter().filter(|line| line["did"] == "queue").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_survive_every_death_of_the_server() {
    let seed = Seed::from_env();
    let history = History::begin("e02-server", &seed);
    let server = Server::without_walls(&Arc::new(Folder::new())).await;
    let folder = Arc::clone(&server.folder);
    server.api.app("jobs").await;
    let code = traced(&folder);
    server.api.function("jobs", "work", &code, &json!({})).await;
    server.stop().await;

    let rounds = if long() { 6 } else { 2 };
    for round in 0..rounds {
        for (point, most) in STEPS {
            let hit = if round == 0 { 1 } else { 1 + seed.below(most) };
            let failpoint = format!("{}=kill({hit})", point.as_str());
            history.note(&json!({"did": "kill", "at": failpoint}));
            let settings = [&SMALL[..], &[("FAILPOINTS", &failpoint)]].concat();
            let status = match Server::try_start_in(&folder, &[], &settings).await {
                Ok(server) => {
                    queue(&history, &server, PER_ROUND).await;
                    history.look(&server.api, 2).await;
                    server.ended().await
                }
                // What an earlier round left is enough to get there before it listens.
                Err((status, _)) => status,
            };
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{failpoint}");
        }
    }

    let server = Server::start_in(&folder, &[], &SMALL).await;
    let left = TASKS.saturating_sub(queued(&history));
    queue(&history, &server, left).await;
    settled(&server.api).await;
    history.look(&server.api, usize::MAX).await;
    server.stop().await;
    assert!(queued(&history) >= TASKS);
    let found = check(&history, &folder);
    let times = times_run(&folder);
    for row in &found.rows {
        assert_eq!(row.state, "succeeded", "{row:?}");
        let ran = times.get(&row.task_id).copied().unwrap_or_default();
        assert!(
            (1..=row.uncounted + 2).contains(&ran),
            "ran {ran} times: {row:?}"
        );
    }
    assert!(
        found.rows.iter().any(|row| row.fence > 1),
        "no kill hit a run"
    );
}

const HELD: usize = 12;
const KILLED: usize = 4;

#[tokio::test]
async fn a_killed_interpreter_costs_its_own_run_one_attempt() {
    let seed = Seed::from_env();
    let history = History::begin("e02-interpreter", &seed);
    let server = Server::without_walls(&Arc::new(Folder::new())).await;
    let folder = Arc::clone(&server.folder);
    server.api.app("jobs").await;
    let (code, begun) = held(&folder);
    server.api.function("jobs", "work", &code, &json!({})).await;
    queue(&history, &server, HELD).await;
    assert!(poll::holds_soon(|| begun.all().len() == HELD));

    let mut runs = begun.all();
    let mut killed = Vec::new();
    while killed.len() < KILLED {
        let (task, pid) = runs.remove(seed.below(runs.len()));
        history.note(&json!({"did": "kill", "task_id": task, "pid": pid}));
        kill(pid, Signal::KILL);
        killed.push(task);
    }
    // They begin again, in other processes.
    assert!(poll::holds_soon(|| begun.all().len() == HELD + KILLED));
    folder.write("go", "");
    settled(&server.api).await;
    history.look(&server.api, usize::MAX).await;
    server.stop().await;

    let found = check(&history, &folder);
    assert_eq!(found.rows.len(), HELD);
    let times = times_run(&folder);
    for row in &found.rows {
        let attempts = 1 + u64::from(killed.contains(&row.task_id));
        assert_eq!(
            (&*row.state, row.attempt),
            ("succeeded", attempts),
            "{row:?}"
        );
        assert_eq!(row.result, json!({"for": Value::Null}));
        assert_eq!(times.get(&row.task_id), Some(&1), "{row:?}");
    }
}
