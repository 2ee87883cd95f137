//! Beginning and end: of the nursery, of interpreters that are nobody's yet, of the runtime.

use crate::poll::eventually;
use crate::processes::Process;
use crate::support::{Python, failure, node, node_function, node_with, value};
use rustix::process::Signal;
use serde_json::json;
use tollgate_core::confinement::Confinement;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;
use tollgate_runtimes::Language;

const PIDS: &str = "export default () => [process.pid, process.ppid]";
const SLEEPER: &str = "import fs from 'node:fs';\nexport default () => { fs.writeFileSync('sleeping', ''); return new Promise(() => {}); }";

/// A worker and its nursery.
async fn pair(node: &Python) -> (Process, Process) {
    let pids = value(&node.call(&node_function(PIDS), json!({})).await);
    let worker = node.process(pids[0].as_i64().unwrap());
    let nursery = Process::read(worker.parent).unwrap();
    assert_eq!(json!(nursery.inner), pids[1]);
    (worker, nursery)
}

/// The interpreters of a nursery.
fn born(node: &Python, nursery: &Process) -> Vec<Process> {
    let mut below = node.processes();
    below.retain(|it| it.parent == nursery.pid);
    below
}

#[tokio::test]
async fn an_interpreter_that_is_ready_is_given_away_once() {
    let Some(node) = node() else { return };
    let (first, nursery) = pair(&node).await;
    for given in 1..3 {
        eventually("another one is ready", || {
            born(&node, &nursery).len() > given
        })
        .await;
        let known = born(&node, &nursery);
        let (next, same) = pair(&node).await;
        assert_eq!(same, nursery);
        assert!(known.contains(&next), "it was ready: {known:?} {next:?}");
        assert_ne!(next, first);
    }
}

#[tokio::test]
async fn a_lost_nursery_is_replaced() {
    let Some(node) = node() else { return };
    let (worker, nursery) = pair(&node).await;
    let sleeper = node_function(SLEEPER);
    let (report, ()) = tokio::join!(node.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || node.wrote("sleeping")).await;
        nursery.signal(Signal::KILL);
    });
    // The server's fault, so that it uses no attempt.
    assert_eq!(
        failure(&report).kind,
        FailureKind::Unavailable,
        "{report:?}"
    );
    eventually("the old worker is gone", || !worker.runs()).await;
    let (_, next) = pair(&node).await;
    assert_ne!(next, nursery);
}

#[tokio::test]
async fn shutdown_leaves_nothing_behind() {
    let Some(node) = node() else { return };
    let (worker, nursery) = pair(&node).await;
    let all = node.processes();
    let sleeper = node_function(SLEEPER);
    let (report, ()) = tokio::join!(node.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || node.wrote("sleeping")).await;
        node.runtime.shutdown().await;
    });
    failure(&report);
    assert!(all.contains(&worker) && all.contains(&nursery));
    let left: Vec<_> = all.iter().filter(|it| it.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_node_that_does_not_start_is_reported_and_python_runs() {
    let made = node_with(|config| config.node.as_mut().unwrap().program = "/bin/false".into());
    let Some(node) = made else { return };
    let report = node.call(&node_function(PIDS), json!({})).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(
        failed.message.contains("the Node host did not start"),
        "{failed:?}"
    );
    assert_eq!(value(&node.once("def main(p): return 1").await), 1);
    let health = node.runtime.health().unwrap();
    assert!(
        health.contains("no Node: the Node host did not start"),
        "{health}"
    );
}

#[tokio::test]
async fn without_walls_it_runs_too() {
    let Some(node) = node_with(|config| config.sandbox = false) else {
        return;
    };
    assert_eq!(
        node.runtime.ready(Language::Node).await,
        Ok(Confinement::Off)
    );
    let code = "import fs from 'node:fs';\nexport default () => { fs.writeFileSync('own', 'x'); return [fs.existsSync('/etc/passwd'), process.cwd()]; }";
    let seen = value(&node.call(&node_function(code), json!({})).await);
    assert_eq!(seen[0], true);
    let home = std::path::PathBuf::from(seen[1].as_str().unwrap());
    assert!(home.join(".function").exists());
    node.runtime.shutdown().await;
    assert!(!home.exists(), "{}", home.display());
}
