//! E11: what does not end is ended.

use super::behind;
use crate::support::{failure, function, function_with, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

/// What may pass between the deadline and the report.
const MARGIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_endless_run_is_dead_soon_and_its_place_is_free() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let options = FunctionOptions {
        timeout_seconds: Some(0.5),
        // One place: the next run needs it.
        max_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    for endless in [
        "while True: pass",
        "time.sleep(600)",
        "signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 64)); time.sleep(600)",
        "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGTERM, signal.SIGINT)]; time.sleep(600)",
        "threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n        time.sleep(600)",
    ] {
        let code = format!(
            "import os, signal, threading, time\ndef main(p):\n    if p.get('go'):\n        print(os.getpid())\n        {endless}\n    return os.getpid()"
        );
        let probe = function_with(&code, options.clone());
        python.runtime.warm(&probe).await.unwrap();
        let started = python.clock.monotonic();
        let report = python
            .call_within(&probe, json!({"go": 1}), Duration::from_millis(500))
            .await;
        let took = python.clock.monotonic() - started;
        assert_eq!(failure(&report).kind, FailureKind::Timeout, "{endless}");
        assert!(
            took < Duration::from_millis(500) + MARGIN,
            "{endless}: {took:?}"
        );
        let pid: i64 = report.logs[0].message.parse().unwrap();
        let left = python.processes();
        assert!(left.iter().all(|it| it.inner != pid), "{endless}: {left:?}");
        assert_ne!(value(&python.call(&probe, json!({})).await), json!(pid));
    }
    let neighbour = function("def main(p): return 'well'");
    assert_eq!(value(&python.call(&neighbour, json!({})).await), "well");
}
