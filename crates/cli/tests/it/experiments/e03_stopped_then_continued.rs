//! E3: an interpreter that is stopped past its deadline, and a whole server that is stopped past its
//! lease, and both continued: nothing runs twice, and what was recorded stays. (That a late result
//! is refused is shown by the store's conformance suite as well.)

use super::checker::check;
use super::history::History;
use super::load::{held, settled, times_run};
use super::seed::Seed;
use crate::support::folder::Folder;
use crate::support::poll;
use crate::support::processes::kill;
use crate::support::server::{Server, WITHOUT_WALLS};
use rustix::process::Signal;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const LEASE: (&str, &str) = ("TOLLGATE_EXECUTION__LEASE_SECONDS", "1");
/// Three of these leases and a bit.
const PAST_THE_LEASE: Duration = Duration::from_millis(3500);

#[tokio::test]
async fn an_interpreter_stopped_past_its_deadline_changes_nothing_afterwards() {
    let history = History::begin("e03-interpreter", &Seed::from_env());
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    server.api.app("jobs").await;
    let (code, begun) = held(&folder);
    let limit = json!({"timeout_seconds": 2});
    server.api.function("jobs", "work", &code, &limit).await;
    for _ in 0..2 {
        history.queue(&server.api, "jobs", "work").await.unwrap();
    }
    assert!(poll::holds_soon(|| begun.all().len() == 2));
    let (stopped, pid) = begun.all().remove(0);
    kill(pid, Signal::STOP);
    history.note(&json!({"did": "stop", "task_id": stopped, "pid": pid}));
    folder.write("go", "");
    // The stopped one reaches its deadline and is tried again by another process.
    settled(&server.api).await;
    history.look(&server.api, 1).await;
    let gone =
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::CONT);
    assert!(gone.is_err(), "the stopped interpreter is still there");
    history.look(&server.api, 1).await;
    server.stop().await;

    let found = check(&history, &folder);
    let times = times_run(&folder);
    for row in &found.rows {
        let attempts = 1 + u64::from(row.task_id == stopped);
        assert_eq!(
            (&*row.state, row.attempt),
            ("succeeded", attempts),
            "{row:?}"
        );
        assert_eq!(times.get(&row.task_id), Some(&1), "{row:?}");
    }
}

const HELD: usize = 6;

/// Held runs under way, on a server with a short lease.
async fn with_held(history: &History, settings: &[(&str, &str)]) -> Server {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], settings).await;
    server.api.app("jobs").await;
    let (code, begun) = held(&folder);
    server.api.function("jobs", "work", &code, &json!({})).await;
    for _ in 0..HELD {
        history.queue(&server.api, "jobs", "work").await.unwrap();
    }
    assert!(poll::holds_soon(|| begun.all().len() == HELD));
    server
}

/// Stays stopped past the lease, goes on, and has run everything once.
async fn continued(history: &History, server: Server) {
    let folder = Arc::clone(&server.folder);
    poll::let_pass(PAST_THE_LEASE);
    folder.write("go", "");
    history.note(&json!({"did": "continue"}));
    server.signal(Signal::CONT);
    settled(&server.api).await;
    // Whoever would take its runs away does so at a sign of life: let some pass.
    poll::let_pass(PAST_THE_LEASE);
    history.look(&server.api, 1).await;
    let said = server.stderr.so_far();
    assert!(!said.contains("took over"), "{said}");
    server.stop().await;
    let found = check(history, &folder);
    let times = times_run(&folder);
    assert_eq!(found.rows.len(), HELD);
    for row in &found.rows {
        let counts = (row.attempt, row.uncounted, times.get(&row.task_id));
        assert_eq!(counts, (1, 0, Some(&1)), "{row:?}");
        assert_eq!(row.state, "succeeded", "{row:?}");
    }
}

#[tokio::test]
async fn a_server_stopped_past_its_lease_goes_on_with_its_runs() {
    let history = History::begin("e03-server", &Seed::from_env());
    let server = with_held(&history, &[WITHOUT_WALLS, LEASE]).await;
    history.note(&json!({"did": "stop"}));
    server.signal(Signal::STOP);
    assert!(poll::holds_soon(|| server.is_stopped()));
    continued(&history, server).await;
}

/// The same at the worst moment: a runtime has answered, and nothing is written yet.
#[tokio::test]
async fn a_server_stopped_between_an_answer_and_its_record_writes_it_once() {
    let history = History::begin("e03-record", &Seed::from_env());
    let settings = [
        WITHOUT_WALLS,
        LEASE,
        ("FAILPOINTS", "result.before=stop(1)"),
    ];
    let server = with_held(&history, &settings).await;
    server.folder.write("go", "");
    history.note(&json!({"did": "stop", "at": "result.before"}));
    assert!(poll::holds_soon(|| server.is_stopped()));
    continued(&history, server).await;
}
