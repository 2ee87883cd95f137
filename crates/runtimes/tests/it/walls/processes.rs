//! E12: no function starts a process, and nothing outlives its host.

use super::{behind, without_namespaces};
use crate::poll::eventually;
use crate::processes::Process;
use crate::support::{Python, function, value};
use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_core::confinement::Wall;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Runtime as _;

const FORKS: &str = include_str!("start_processes.py");

/// Every way that Python and the C library know.
async fn no_process_starts(python: &Python) {
    let seen = value(&python.once(FORKS).await);
    let ways = seen.as_object().unwrap();
    assert!(ways.len() >= 10, "{seen}");
    for (way, outcome) in ways {
        assert_eq!(outcome, "refused", "{way}: {seen}");
    }
}

#[tokio::test]
async fn no_way_leads_to_another_process() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let bystander = function("def main(p): return 'well'");
    value(&python.call(&bystander, json!({})).await);
    no_process_starts(&python).await;
    assert_eq!(value(&python.call(&bystander, json!({})).await), "well");
}

#[tokio::test]
async fn nor_where_there_are_no_namespaces() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    no_process_starts(&python).await;
}

#[tokio::test]
async fn a_thread_bomb_hurts_nobody_else() {
    let Some(python) = behind(&[Wall::Threads]).await else {
        return;
    };
    let bomb = "import threading\nstop = threading.Event()\nthreading.stack_size(65536)\ndef main(p):\n    started = 1\n    try:\n        while started < 5000:\n            threading.Thread(target=stop.wait, daemon=True).start()\n            started += 1\n    except RuntimeError:\n        pass\n    return started";
    let beside = function(
        "import threading\ndef main(p):\n    one = threading.Thread(target=print)\n    one.start()\n    one.join()\n    return 'well'",
    );
    // Two functions: the threads of one stay, and would count in its next call.
    let (one, other) = (function(bomb), function(bomb));
    let reports = tokio::join!(
        python.call(&one, json!({})),
        python.call(&other, json!({})),
        python.call(&beside, json!({})),
    );
    for report in [reports.0, reports.1] {
        let started = value(&report).as_u64().unwrap();
        assert!(started <= limits::WORKER_THREADS, "{started}");
        assert!(started > limits::WORKER_THREADS / 2, "{started}");
    }
    assert_eq!(value(&reports.2), "well");
    // While the threads of the others still wait.
    let next = "import threading\ndef main(p):\n    one = threading.Thread(target=print)\n    one.start()\n    one.join()\n    return 'well'";
    assert_eq!(value(&python.once(next).await), "well");
}

/// Workers are sessions of their own, and here neither they nor the zygote can do anything: only
/// the kernel can end them.
#[tokio::test]
async fn the_end_of_the_launcher_ends_what_cannot_act() {
    let Some(python) = behind(&[Wall::Processes]).await else {
        return;
    };
    let pid = "import os\ndef main(p): return os.getpid()";
    value(&python.once(pid).await);
    value(&python.once(pid).await);
    let processes = python.processes();
    let [launcher, host @ ..] = &processes[..] else {
        panic!("no processes")
    };
    assert!(host.len() >= 3, "{processes:?}");
    for process in host {
        process.signal(Signal::STOP);
    }
    launcher.signal(Signal::KILL);
    eventually("all are gone", || !processes.iter().any(Process::runs)).await;
}

#[tokio::test]
async fn a_worker_sees_no_process_but_its_own_namespace() {
    let Some(python) = behind(&[Wall::Processes, Wall::Root]).await else {
        return;
    };
    let code = "import os\ndef main(p):\n    def there(pid):\n        try: os.getpgid(pid)\n        except ProcessLookupError: return False\n        return True\n    return [os.path.exists('/proc/self'), [pid for pid in p['pids'] if there(pid)]]";
    // Numbers of this machine's processes that the namespace cannot have reached.
    let pids: Vec<u32> = vec![std::process::id() + 100_000, std::process::id()];
    let own: Vec<i64> = python.processes().iter().map(|it| it.inner).collect();
    let foreign: Vec<_> = pids
        .into_iter()
        .filter(|&pid| !own.contains(&i64::from(pid)))
        .collect();
    let seen = value(&python.call(&function(code), json!({"pids": foreign})).await);
    assert_eq!(seen, json!([false, Value::Array(Vec::new())]));
    python.runtime.health().unwrap();
}
