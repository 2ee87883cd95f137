//! Beginning and end: of the zygote, of the runtime, of the server itself.

use crate::poll::eventually;
use crate::support::{failure, function, is_running, python, python_with, value};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use tollgate_core::invocation::FailureKind;
use tollgate_core::ports::runtime::Runtime as _;

const PIDS: &str = "import os\ndef main(p): return [os.getpid(), os.getppid()]";

const SLEEPER: &str =
    "import time\ndef main(p):\n    open('sleeping', 'w').close()\n    time.sleep(600)";

fn pids(report: &tollgate_core::ports::runtime::RunReport) -> (i64, i64) {
    let pids = value(report);
    (pids[0].as_i64().unwrap(), pids[1].as_i64().unwrap())
}

#[tokio::test]
async fn a_lost_zygote_is_replaced() {
    let Some(python) = python() else { return };
    let probe = function(PIDS);
    let (worker, zygote) = pids(&python.call(&probe, json!({})).await);
    let (sleeper, mark) = (function(SLEEPER), python.scratch().join("sleeping"));
    let (report, ()) = tokio::join!(python.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || mark.exists()).await;
        let pid = rustix::process::Pid::from_raw(i32::try_from(zygote).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Crashed, "{failed:?}");
    eventually("the old worker is gone", || !is_running(worker)).await;
    let (_, next) = pids(&python.call(&probe, json!({})).await);
    assert_ne!(next, zygote);
    python.runtime.health().unwrap();
}

#[tokio::test]
async fn shutdown_leaves_nothing_behind() {
    let Some(python) = python() else { return };
    let (worker, zygote) = pids(&python.call(&function(PIDS), json!({})).await);
    let (sleeper, mark) = (function(SLEEPER), python.scratch().join("sleeping"));
    let (report, ()) = tokio::join!(python.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || mark.exists()).await;
        python.runtime.shutdown().await;
        assert!(!is_running(worker));
        assert!(!is_running(zygote));
    });
    failure(&report);
    let report = python.call(&function(PIDS), json!({})).await;
    assert_eq!(failure(&report).kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn dropping_the_runtime_ends_its_processes() {
    let Some(python) = python() else { return };
    let (worker, zygote) = pids(&python.call(&function(PIDS), json!({})).await);
    drop(python);
    eventually("the processes are gone", || {
        !is_running(worker) && !is_running(zygote)
    })
    .await;
}

#[tokio::test]
async fn a_python_that_does_not_start_is_reported() {
    let Some(python) = python_with(|config| config.python = "/bin/false".into()) else {
        return;
    };
    let report = python.once("def main(p): pass").await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(failed.message.contains("exit status: 1"), "{failed:?}");
    assert!(python.runtime.health().is_err());
    let Some(python) = python_with(|config| config.launcher.program = "/nowhere".into()) else {
        return;
    };
    let report = python.once("def main(p): pass").await;
    assert!(
        failure(&report).message.contains("/nowhere"),
        "{:?}",
        failure(&report)
    );
}

#[test]
fn a_missing_python_is_named() {
    let launcher = tollgate_runtimes::LauncherSpec::this_test_binary().unwrap();
    let config =
        tollgate_runtimes::ProcessConfig::discover("/no/python".as_ref(), launcher, "/tmp".into());
    let message = config.unwrap_err().to_string();
    assert!(
        message.contains("/no/python") && message.contains("3.9"),
        "{message}"
    );
}

const SERVER: &str = "TOLLGATE_TEST_SERVER";

/// Not a test of its own: the server that [`a_killed_server_leaves_nothing_behind`] kills.
#[tokio::test]
async fn server_entry() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    let python = python().unwrap();
    // With a daemon in a session of its own, whose parent is gone.
    let code = "import os, time\ndef main(p):\n    r, w = os.pipe()\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            os.write(w, str(os.getpid()).encode())\n            time.sleep(600)\n        os._exit(0)\n    return [os.getpid(), os.getppid(), int(os.read(r, 20))]";
    let report = python.call(&function(code), json!({})).await;
    println!("\npids {}", report.result.unwrap().as_str());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_server_leaves_nothing_behind() {
    if python().is_none() {
        return;
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["lifecycle::server_entry", "--exact", "--nocapture"])
        .env(SERVER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("pids "))
        .unwrap();
    let pids: Vec<i64> = serde_json::from_str(line.trim_start_matches("pids ")).unwrap();
    assert!(pids.iter().all(|&pid| is_running(pid)));
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("worker, zygote and daemon are gone", || {
        !pids.iter().any(|&pid| is_running(pid))
    })
    .await;
}
