//! Beginning and end: of the zygote, of the runtime, of the server itself.

use crate::poll::eventually;
use crate::processes::Process;
use crate::support::{Python, SITE, failure, function, function_of, python, python_with, value};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{Environment, Source};
use tollgate_core::ports::runtime::{CheckError, Runtime as _};
use tollgate_core::tasks::FailureKind;
use tollgate_runtimes::LauncherSpec;

/// How long hosts and workers may be silent here.
const SHORT: Duration = Duration::from_millis(1500);

const PIDS: &str = "import os\ndef main(p): return [os.getpid(), os.getppid()]";

const SLEEPER: &str =
    "import time\ndef main(p):\n    open('sleeping', 'w').close()\n    time.sleep(600)";

/// A worker and its zygote.
async fn pair(python: &Python) -> (Process, Process) {
    let pids = value(&python.call(&function(PIDS), json!({})).await);
    let process = |place: usize| python.process(pids[place].as_i64().unwrap());
    (process(0), process(1))
}

#[tokio::test]
async fn a_lost_zygote_is_replaced() {
    let Some(python) = python() else { return };
    let (worker, zygote) = pair(&python).await;
    let sleeper = function(SLEEPER);
    let (report, ()) = tokio::join!(python.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || python.wrote("sleeping")).await;
        zygote.signal(Signal::KILL);
    });
    let failed = failure(&report);
    // The server's fault, so that it uses no attempt.
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    eventually("the old worker is gone", || !worker.runs()).await;
    let (_, next) = pair(&python).await;
    assert_ne!(next, zygote);
    python.runtime.health().unwrap();
}

/// Before the server can have noticed.
#[tokio::test]
async fn a_start_whose_host_was_killed_is_made_by_another() {
    let Some(python) = python() else { return };
    pair(&python).await;
    for round in 0..4 {
        for launcher in python.launchers() {
            launcher.signal(Signal::KILL);
        }
        match round % 2 {
            0 => drop(value(&python.call(&function(PIDS), json!({})).await)),
            _ => check(&python).await.unwrap(),
        }
    }
}

const SIMPLE: &str = "def main(params): return 1";

async fn check(python: &Python) -> Result<(), CheckError> {
    let source = Source::single(Environment::Python, SIMPLE);
    let hosts = EgressHosts::default();
    python.runtime.check(SITE, &source, &hosts).await
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_replaced_and_nobody_is_told() {
    let Some(python) = python_with(|config| config.begin = SHORT) else {
        return;
    };
    for round in 0..2 {
        let (_, zygote) = pair(&python).await;
        zygote.signal(Signal::STOP);
        match round {
            0 => check(&python).await.unwrap(),
            _ => drop(value(&python.call(&function(SIMPLE), json!({})).await)),
        }
        eventually("the old one is gone", || !zygote.runs()).await;
    }
    // The host is well, and the worker that it has kept ready does not begin. Where it was stopped before it was
    // ready, its host waits for it and is as stuck.
    let (worker, zygote) = pair(&python).await;
    let ready = || {
        let mut below = python.processes();
        below.retain(|it| it.parent == zygote.pid && *it != worker);
        below.pop()
    };
    eventually("one is kept ready", || ready().is_some()).await;
    let stopped = ready().unwrap();
    stopped.signal(Signal::STOP);
    value(&python.call(&function(SIMPLE), json!({})).await);
    eventually("it is gone", || !stopped.runs()).await;
}

/// A host that says that it is ready, and then nothing.
#[tokio::test]
async fn that_no_host_answers_is_not_the_codes_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mute = folder.path().join("python");
    let script = "#!/bin/sh\nprintf '{\"op\":\"ready\",\"version\":\"3\"}' >&0\nexec sleep 600\n";
    std::fs::write(&mute, script).unwrap();
    std::fs::set_permissions(&mute, Permissions::from_mode(0o755)).unwrap();
    let Some(python) = python_with(|config| {
        config.begin = SHORT;
        config.sandbox = false;
        config.python.program = mute;
    }) else {
        return;
    };
    match check(&python).await.unwrap_err() {
        CheckError::Unavailable(reason) => {
            assert!(reason.contains("did not answer"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let probe = function(SIMPLE);
    let report = python.call_within(&probe, json!({}), SHORT * 20).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(failed.message.contains("did not answer"), "{failed:?}");
}

#[tokio::test]
async fn shutdown_leaves_nothing_behind() {
    let Some(python) = python() else { return };
    let (worker, zygote) = pair(&python).await;
    let sleeper = function(SLEEPER);
    let (report, ()) = tokio::join!(python.call(&sleeper, json!({})), async {
        eventually("the sleeper runs", || python.wrote("sleeping")).await;
        python.runtime.shutdown().await;
        assert!(!worker.runs());
        assert!(!zygote.runs());
    });
    failure(&report);
    let report = python.call(&function(PIDS), json!({})).await;
    assert_eq!(failure(&report).kind, FailureKind::Unavailable);
}

/// Each launcher writes down its number before it does anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_nothing_behind_that_was_about_to_start() {
    for begun in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("started");
        std::fs::write(&list, "").unwrap();
        let started = || {
            let text = std::fs::read_to_string(&list).unwrap();
            let pids = text.lines().map(|line| line.parse().unwrap());
            pids.collect::<Vec<i64>>()
        };
        let own = LauncherSpec::this_test_binary().unwrap();
        let script = "echo $$ >> \"$0\"; exec \"$@\"";
        let mut args = ["-c", script, list.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec();
        args.push(own.program.to_str().unwrap().to_owned());
        args.extend(own.args);
        let launcher = LauncherSpec {
            program: "/bin/sh".into(),
            args,
        };
        let Some(python) = python_with(|config| config.launcher = launcher) else {
            return;
        };
        let call = |site| {
            let probe = function_of(site, PIDS);
            let python = &python;
            async move { python.call(&probe, json!({})).await }
        };
        let calls = join_all((1..5).map(call));
        let stop = async {
            eventually("so many have begun", || started().len() >= begun.min(5)).await;
            python.runtime.shutdown().await;
            let started = started();
            let left = started.iter().filter_map(|&pid| Process::read(pid));
            assert_eq!(left.collect::<Vec<_>>(), [], "{begun}");
            started
        };
        let (_, before) = tokio::join!(calls, stop);
        python.runtime.shutdown().await;
        assert_eq!(started(), before, "{begun}: one started after the stop");
    }
}

#[tokio::test]
async fn dropping_the_runtime_ends_its_processes() {
    let Some(python) = python() else { return };
    let (worker, zygote) = pair(&python).await;
    drop(python);
    eventually("the processes are gone", || {
        !worker.runs() && !zygote.runs()
    })
    .await;
}

#[tokio::test]
async fn a_python_that_does_not_start_is_reported() {
    let Some(python) = python_with(|config| config.python.program = "/bin/false".into()) else {
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
    pair(&python).await;
    let pids: Vec<i64> = python.processes().iter().map(|it| it.pid).collect();
    println!("\npids {}", json!(pids));
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
    let processes: Vec<_> = pids.into_iter().filter_map(Process::read).collect();
    assert!(processes.len() > 2, "{processes:?}");
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("launcher, zygote and workers are gone", || {
        !processes.iter().any(Process::runs)
    })
    .await;
}
