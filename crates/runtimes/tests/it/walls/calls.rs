//! E17: calls that reach other processes or the kernel's depths are refused, and threads start.

use super::{behind, without_namespaces};
use crate::support::{Python, failure, function, skipped, value};
use serde_json::json;
use tollgate_core::tasks::FailureKind;

const CALLS: &str = include_str!("make_calls.py");
const OLD_CALLS: &str = include_str!("make_old_calls.py");

async fn everything_is_refused(python: &Python) {
    let sibling = function(
        "import os, time\nseen = 0\ndef main(p):\n    global seen\n    seen += 1\n    return [os.getpid(), seen]",
    );
    let before = value(&python.call(&sibling, json!({})).await);
    let params = json!({"sibling": before[0], "server": std::process::id()});
    let seen = value(&python.call(&function(CALLS), params).await);
    let calls = seen["calls"].as_object().unwrap();
    assert!(calls.len() > 40, "{seen}");
    for (call, outcome) in calls {
        let refused = ["EPERM", "EACCES", "ENOSYS"].map(|name| outcome == name);
        assert!(refused.contains(&true), "{call}: {outcome}");
    }
    assert_eq!(calls["clone3"], "ENOSYS");
    assert_eq!(seen["threads"], 8);
    assert_eq!(seen["own signal"], "handled");
    // The same process, which counts on.
    let after = value(&python.call(&sibling, json!({})).await);
    assert_eq!(after, json!([before[0], 2]));
}

#[tokio::test]
async fn calls_into_the_depths_are_refused() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    everything_is_refused(&python).await;
}

#[tokio::test]
async fn also_where_there_are_no_namespaces() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    everything_is_refused(&python).await;
}

#[tokio::test]
async fn calls_of_another_architecture_end_the_process() {
    if !cfg!(target_arch = "x86_64") {
        skipped("32-bit calls are of x86-64 only");
        return;
    }
    let Some(python) = behind(&[]).await else {
        return;
    };
    for number in [
        20,  // getpid
        5,   // open
        359, // socket
        11,  // execve
    ] {
        let report = python
            .call(&function(OLD_CALLS), json!({"number": number}))
            .await;
        let failed = failure(&report);
        // Without 32-bit support in the kernel the instruction itself is a fault.
        assert_eq!(failed.kind, FailureKind::Crashed, "{failed:?}");
        let ended = ["SIGSYS", "SIGSEGV"].map(|signal| failed.message.contains(signal));
        assert!(ended.contains(&true), "{failed:?}");
    }
    assert_eq!(
        value(&python.once("def main(p): return 'well'").await),
        "well"
    );
}

#[tokio::test]
async fn a_worker_holds_no_rights() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let pid = value(
        &python
            .once("import os\ndef main(p): return os.getpid()")
            .await,
    );
    let worker = python.process(pid.as_i64().unwrap());
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("Groups:"), "");
    assert!(
        !field("Uid:").split_whitespace().any(|user| user == "0"),
        "{status}"
    );
}
