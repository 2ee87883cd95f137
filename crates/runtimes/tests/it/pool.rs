//! How workers are shared, multiplied and let go.

use crate::poll::eventually;
use crate::support::{failure, function, function_with, python, python_with, value};
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::ports::runtime::{RunReport, Runtime as _};
use tollgate_core::tasks::FailureKind;

#[tokio::test]
async fn slow_calls_get_a_worker_each() {
    let Some(python) = python() else { return };
    let slow = function("import time\ndef main(p):\n    time.sleep(0.5)\n    return p['n']");
    let started = python.clock.monotonic();
    let calls = (0..50).map(|n| python.call(&slow, json!({ "n": n })));
    let reports = futures_util::future::join_all(calls).await;
    let took = python.clock.monotonic() - started;
    for (n, report) in reports.iter().enumerate() {
        assert_eq!(value(report), n);
    }
    // One after another, 25 seconds; in two workers, 12.5.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let workers: HashSet<_> = reports.iter().map(|report| &report.worker).collect();
    assert!(workers.len() >= 25, "{}", workers.len());
}

#[tokio::test]
async fn fast_calls_share_a_few() {
    let Some(python) = python_with(|config| config.start_eagerly = 2) else {
        return;
    };
    let fast = function("def main(p): return 1");
    python.runtime.warm(&fast).await.unwrap();
    let calls = (0..64).map(|_| python.call(&fast, json!({})));
    let reports = futures_util::future::join_all(calls).await;
    let workers: HashSet<_> = reports.iter().map(|report| &report.worker).collect();
    assert!(workers.len() <= 16, "{}", workers.len());
}

#[tokio::test]
async fn max_concurrency_bounds_the_workers() {
    let Some(python) = python() else { return };
    let options = FunctionOptions {
        max_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    let code = "import time\nbusy = 0\ndef main(p):\n    time.sleep(0.05)\n    import os\n    return os.getpid()";
    let single = function_with(code, options);
    let calls = (0..6).map(|_| python.call(&single, json!({})));
    let reports = futures_util::future::join_all(calls).await;
    let pids: HashSet<_> = reports
        .iter()
        .map(|report| value(report).as_i64())
        .collect();
    assert_eq!(pids.len(), 1);
}

#[tokio::test]
async fn waiting_counts_against_the_deadline() {
    let Some(python) = python() else { return };
    let options = FunctionOptions {
        max_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    let slow = function_with("import time\ndef main(p): time.sleep(1)", options);
    let (first, second) = tokio::join!(
        python.call(&slow, json!({})),
        python.call_within(&slow, json!({}), Duration::from_millis(200)),
    );
    value(&first);
    assert_eq!(failure(&second).kind, FailureKind::Timeout);
    assert!(
        failure(&second).message.contains("No worker was free"),
        "{:?}",
        failure(&second)
    );
}

/// Nobody waits for queued work, so a queue in front of the function is not the function's fault.
#[tokio::test]
async fn without_a_waiting_caller_time_counts_from_the_start_of_the_run() {
    let Some(python) = python() else { return };
    let options = FunctionOptions {
        max_concurrency: Some(1),
        timeout_seconds: Some(0.6),
        ..FunctionOptions::default()
    };
    let slow = function_with("import time\ndef main(p): time.sleep(0.3)", options);
    let runs = (0..4).map(|_| python.call_unhurried(&slow, json!({})));
    for report in futures_util::future::join_all(runs).await {
        value(&report);
    }
}

#[tokio::test]
async fn a_full_pool_lets_the_idlest_go() {
    let Some(python) = python_with(|config| config.workers_max = 2) else {
        return;
    };
    let code = "import os\ndef main(p): return os.getpid()";
    let mut workers = Vec::new();
    for _ in 0..5 {
        let pid = value(&python.call(&function(code), json!({})).await);
        workers.push(python.process(pid.as_i64().unwrap()));
    }
    eventually("at most two are left", || {
        workers.iter().filter(|worker| worker.runs()).count() <= 2
    })
    .await;
}

#[tokio::test]
async fn idle_workers_go_and_kept_ones_stay_until_retired() {
    let Some(python) = python_with(|config| config.idle = Duration::from_millis(200)) else {
        return;
    };
    let code = "import os\ndef main(p): return os.getpid()";
    let (passing, kept) = (function(code), function(code));
    python.runtime.warm(&kept).await.unwrap();
    python.runtime.keep(&kept, true);
    let pid = value(&python.call(&passing, json!({})).await);
    let passing = python.process(pid.as_i64().unwrap());
    let kept_pid = value(&python.call(&kept, json!({})).await);
    let warmed = python.process(kept_pid.as_i64().unwrap());
    eventually("the idle worker is gone", || !passing.runs()).await;
    assert!(warmed.runs());
    let active = Some(kept.image());
    python
        .runtime
        .retire(kept.site_id, kept.function_id, active);
    let next = value(&python.call(&kept, json!({})).await);
    assert_eq!(next, kept_pid, "the active version's worker stays");
    python.runtime.retire(kept.site_id, kept.function_id, None);
    eventually("the retired worker is gone", || !warmed.runs()).await;
    assert!(python.runtime.warm(&function("1/0")).await.is_err());
}

/// The worker is replaced as soon as it dies, and code that does not load is left alone.
#[tokio::test]
async fn a_kept_worker_is_replaced() {
    let Some(python) = python() else { return };
    let code = "import os\ndef main(p):\n    if p.get('die'): os._exit(3)\n    return os.getpid()";
    let kept = function(code);
    python.runtime.warm(&kept).await.unwrap();
    python.runtime.keep(&kept, true);
    let first = python.call(&kept, json!({})).await;
    let process = python.process(value(&first).as_i64().unwrap());
    eventually("a spare worker waits", || {
        let mut others = python.processes().into_iter();
        others.any(|it| it.parent == process.parent && it.pid != process.pid)
    })
    .await;
    let usual = python.processes().len();
    let died = python.call(&kept, json!({"die": true})).await;
    assert_eq!(failure(&died).kind, FailureKind::Crashed);
    eventually("another one has taken its place", || {
        !process.runs() && python.processes().len() == usual
    })
    .await;

    let broken = function("1/0");
    python.runtime.keep(&broken, true);
    // Calls try again; nothing else does.
    for _ in 0..5 {
        let report = python.call(&broken, json!({})).await;
        assert_eq!(failure(&report).kind, FailureKind::Load);
    }
    let last = python.call(&function(code), json!({})).await;
    let number = |report: &RunReport| {
        let (_, number) = report.worker.split_once('-').unwrap();
        number.parse::<u32>().unwrap()
    };
    let between = number(&last) - number(&first);
    assert!(between <= 9, "{between} workers were started");
}

#[tokio::test]
async fn sites_and_versions_never_share_a_worker() {
    let Some(python) = python() else { return };
    let one = function("seen = []\ndef main(p):\n    seen.append(1)\n    return len(seen)");
    let mut other_site = (*one).clone();
    other_site.site_id.0 += 1;
    let mut other_version = (*one).clone();
    other_version.version_id.0 += 1_000_000;
    for executable in [one.clone(), other_site.into(), other_version.into()] {
        assert_eq!(value(&python.call(&executable, json!({})).await), 1);
    }
    assert_eq!(value(&python.call(&one, json!({})).await), 2);
}

#[tokio::test]
async fn dropping_a_call_kills_its_worker() {
    let Some(python) = python() else { return };
    let code = "import os, time\ndef main(p):\n    if p.get('pid'): return os.getpid()\n    open('dropped-%d' % os.getpid(), 'w').close()\n    time.sleep(600)";
    let probe = function(code);
    let pid = value(&python.call(&probe, json!({"pid": 1})).await)
        .as_i64()
        .unwrap();
    let worker = python.process(pid);
    let mark = format!("dropped-{pid}");
    tokio::select! {
        report = python.call(&probe, json!({})) => panic!("{report:?}"),
        () = eventually("the call runs", || python.wrote(&mark)) => {}
    }
    eventually("the worker is dead", || !worker.runs()).await;
    let next = value(&python.call(&probe, json!({"pid": 1})).await)
        .as_i64()
        .unwrap();
    assert_ne!(next, pid);
}
