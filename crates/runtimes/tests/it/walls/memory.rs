//! E13: memory, on the heap and off it, ends at the limit.

use super::{behind, behind_with, refusing_with};
use crate::support::{Python, failure, function, function_with, value};
use serde_json::json;
use tollgate_core::confinement::Wall;
use tollgate_core::function::FunctionOptions;
use tollgate_core::invocation::FailureKind;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_runtimes::ProcessConfig;

const SERVER_GROWTH_BYTES: usize = 50 << 20;
/// More than a few idle workers take, less than the hungry one wants.
const TOGETHER_BYTES: u64 = 160 << 20;

/// Resident memory of this process, which is the server here.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

#[tokio::test]
async fn a_memory_bomb_is_a_limit_that_names_memory() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let options = FunctionOptions {
        memory_mb: Some(64),
        ..FunctionOptions::default()
    };
    let neighbour = function("def main(p): return 'well'");
    value(&python.call(&neighbour, json!({})).await);
    let before = resident();
    for bomb in [
        "kept = [bytearray(1 << 20) for _ in range(1 << 20)]",
        "kept = {n: str(n) * 100 for n in range(1 << 30)}",
        "kept = [mmap.mmap(-1, 1 << 24) for _ in range(1 << 10)]",
        "mmap.mmap(-1, 1 << 33)",
        "ctypes.create_string_buffer(1 << 32)",
        "kept = [ctypes.create_string_buffer(1 << 22) for _ in range(1 << 12)]",
    ] {
        let code = format!("import ctypes, mmap\ndef main(p):\n    {bomb}\n    return 1");
        let probe = function_with(&code, options.clone());
        let report = python.call(&probe, json!({})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{bomb}: {failed:?}");
        assert!(failed.message.contains("memory"), "{bomb}: {failed:?}");
        assert_eq!(value(&python.call(&neighbour, json!({})).await), "well");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < SERVER_GROWTH_BYTES, "{grown}");
}

#[tokio::test]
async fn files_in_memory_are_bounded_too() {
    let Some(python) = behind(&[Wall::Scratch]).await else {
        return;
    };
    let code = "import os\ndef main(p):\n    written = 0\n    try:\n        for number in range(1000):\n            with open(f'{number}', 'wb') as file:\n                written += file.write(bytes(1 << 20))\n    except OSError as error:\n        return [written, error.strerror]\n    return [written, None]";
    let probe = function(code);
    for _ in 0..2 {
        let report = value(&python.call(&probe, json!({})).await);
        let written = report[0].as_u64().unwrap();
        assert!(written <= limits::SCRATCH_BYTES, "{report}");
        assert_eq!(report[1], "No space left on device");
    }
    // Its neighbours' folders are their own, and a new worker's is empty.
    let fresh = "import os\ndef main(p):\n    open('a', 'wb').write(bytes(1 << 20))\n    return os.listdir('.')";
    assert_eq!(value(&python.once(fresh).await), json!(["a"]));
    let files = "import os\ndef main(p):\n    made = 0\n    try:\n        while made < 10**6:\n            os.mkdir(str(made))\n            made += 1\n    except OSError as error:\n        return error.strerror";
    assert_eq!(value(&python.once(files).await), "No space left on device");
    let hidden = "import os\ndef main(p):\n    try: os.memfd_create('x')\n    except PermissionError: return 'refused'";
    assert_eq!(value(&python.once(hidden).await), "refused");
}

#[tokio::test]
async fn what_all_take_together_is_bounded_and_told() {
    let small = |config: &mut ProcessConfig| config.memory_bytes = Some(TOGETHER_BYTES);
    if let Some(python) = behind_with(&[Wall::Memory], small).await {
        together_is_bounded(&python).await;
    }
}

/// The kernel tells the launcher of no control group, as in a common container.
#[tokio::test]
async fn without_a_control_group_the_server_watches() {
    let cgroup = ["-P", "/proc/self/cgroup"];
    let Some(launcher) = refusing_with(&["openat:error=EACCES"], &cgroup) else {
        return;
    };
    let small = |config: &mut ProcessConfig| {
        config.memory_bytes = Some(TOGETHER_BYTES);
        config.launcher = launcher;
    };
    let Some(python) = behind_with(&[], small).await else {
        return;
    };
    let health = python.runtime.health().unwrap();
    assert!(health.contains("missing: memory"), "{health}");
    assert!(health.contains("the server watches"), "{health}");
    together_is_bounded(&python).await;
}

async fn together_is_bounded(python: &Python) {
    let neighbour = function("def main(p): return 'well'");
    value(&python.call(&neighbour, json!({})).await);
    let options = FunctionOptions {
        memory_mb: Some(1024),
        ..FunctionOptions::default()
    };
    let hungry = function_with(
        // It keeps what it took: whoever only looks now and then has to see it.
        "def main(p):\n    kept = b'x' * (400 << 20)\n    while kept: pass",
        options,
    );
    for _ in 0..2 {
        let report = python.call(&hungry, json!({})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
        assert!(failed.message.contains("memory"), "{failed:?}");
        assert_eq!(value(&python.call(&neighbour, json!({})).await), "well");
    }
}

#[tokio::test]
async fn all_workers_together_are_in_a_bounded_group() {
    let Some(python) = behind(&[Wall::Memory]).await else {
        return;
    };
    let pid = value(
        &python
            .once("import os\ndef main(p): return os.getpid()")
            .await,
    );
    let worker = python.process(pid.as_i64().unwrap());
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", worker.pid)).unwrap();
    let ours = |line: &&str| line.contains("/tollgate-");
    assert!(groups.lines().any(|line| ours(&line)), "{groups}");
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(!own.lines().any(|line| ours(&line)), "{own}");
}
