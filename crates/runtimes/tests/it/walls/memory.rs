//! E13: memory, on the heap and off it, ends at the limit.

use super::{behind, behind_with, open_folder, with_the_least};
use crate::poll::eventually;
use crate::support::{Python, failure, function, function_with, value};
use serde_json::json;
use tollgate_core::confinement::Wall;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;
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
        "kept = [mmap.mmap(-1, 1 << 24) for _ in range(16)]\n    for it in kept: it.write(b'x' * (1 << 24))",
        "it = mmap.mmap(-1, 1 << 28)\n    for _ in range(256): it.write(b'x' * (1 << 20))",
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

/// With control groups, and as if there were none.
async fn both_ways() -> Vec<Python> {
    let mut ways = Vec::new();
    ways.extend(behind(&[Wall::Memory]).await);
    ways.extend(behind_with(&[], |config| config.control_groups = false).await);
    ways
}

fn with_memory(code: &str, memory_mb: u32) -> std::sync::Arc<tollgate_core::functions::Executable> {
    let options = FunctionOptions {
        memory_mb: Some(memory_mb),
        ..FunctionOptions::default()
    };
    function_with(code, options)
}

/// What it writes in small pieces no single request for memory can refuse.
const STORM: &str =
    "def main(p):\n    kept = []\n    while True: kept.append(b'x' * 100_000 + bytes(len(kept)))";

#[tokio::test]
async fn a_storm_of_allocations_ends_one_worker_and_names_memory_mb() {
    for python in both_ways().await {
        let neighbour = function("import os\ndef main(p): return os.getpid()");
        let before = value(&python.call(&neighbour, json!({})).await);
        for memory_mb in [64, 256] {
            let storm = with_memory(STORM, memory_mb);
            let failed = python.call(&storm, json!({})).await;
            let failed = failure(&failed);
            assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
            let named = failed
                .message
                .contains(&format!("{memory_mb} MiB of memory"));
            assert!(named, "{failed:?}");
        }
        let after = value(&python.call(&neighbour, json!({})).await);
        assert_eq!(before, after, "the neighbour was ended too");
    }
}

#[tokio::test]
async fn what_is_loaded_is_bounded_as_what_is_called() {
    for python in both_ways().await {
        let code =
            "kept = [b'x' * (1 << 20) + bytes(n) for n in range(1 << 10)]\ndef main(p): return 1";
        let failed = python.call(&with_memory(code, 64), json!({})).await;
        let failed = failure(&failed);
        assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
        assert!(failed.message.contains("64 MiB of memory"), "{failed:?}");
    }
}

/// Each has its promised number, and memory that is reserved is not yet used.
#[tokio::test]
async fn sixty_four_threads_start_at_128_mib() {
    let code = "import threading\ndef main(p):\n    go = threading.Event()\n    threads = [threading.Thread(target=go.wait) for _ in range(63)]\n    for it in threads: it.start()\n    count = threading.active_count()\n    go.set()\n    for it in threads: it.join()\n    return count";
    for python in both_ways().await {
        for memory_mb in [32, 128, 256] {
            let report = python.call(&with_memory(code, memory_mb), json!({})).await;
            assert_eq!(value(&report), limits::WORKER_THREADS, "{memory_mb}");
        }
    }
}

#[tokio::test]
async fn what_is_reserved_and_not_used_is_no_memory() {
    let code = "import mmap\ndef main(p): return len(mmap.mmap(-1, 300 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))";
    for python in both_ways().await {
        let report = python.call(&with_memory(code, 64), json!({})).await;
        assert_eq!(value(&report), 300 << 20);
        let more =
            "def main(p):\n    try: bytearray(1 << 31)\n    except MemoryError: return 'refused'";
        let report = python.call(&with_memory(more, 64), json!({})).await;
        assert_eq!(value(&report), "refused");
    }
}

#[tokio::test]
async fn files_in_memory_count_as_the_workers_memory() {
    let code = "def main(p):\n    open('a', 'wb').write(bytes(50 << 20))\n    kept = b'x' * (p['more'] << 20)\n    while p['more'] > 10: pass\n    return len(kept)";
    for python in both_ways().await {
        let probe = with_memory(code, 96);
        assert_eq!(
            value(&python.call(&probe, json!({"more": 10})).await),
            10 << 20
        );
        let failed = python
            .call(&with_memory(code, 96), json!({"more": 80}))
            .await;
        let failed = failure(&failed);
        assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
        assert!(failed.message.contains("96 MiB of memory"), "{failed:?}");
    }
}

/// Where all have their folders in one memory, and the server has to look whose is what.
#[tokio::test]
async fn files_in_a_memory_for_all_count_for_whoever_wrote_them() {
    let scratch = open_folder("/dev/shm");
    let watched = |config: &mut ProcessConfig| config.control_groups = false;
    let Some(python) = with_the_least(scratch.path(), watched).await else {
        return;
    };
    // Removed at once, or not: it is there as long as it is open.
    for after in ["", "os.remove('a')"] {
        let code = format!(
            "import os\ndef main(p):\n    file = open('a', 'wb')\n    file.write(bytes(50 << 20))\n    file.flush()\n    {after}\n    kept = b'x' * (p['more'] << 20)\n    while p['more'] > 10: pass\n    return len(kept)"
        );
        let neighbour = with_memory("import os\ndef main(p): return os.getpid()", 32);
        let before = value(&python.call(&neighbour, json!({})).await);
        let probe = with_memory(&code, 96);
        let report = python.call(&probe, json!({"more": 10})).await;
        assert_eq!(value(&report), 10 << 20);
        let report = python.call(&probe, json!({"more": 80})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{after}: {failed:?}");
        assert!(failed.message.contains("96 MiB of memory"), "{failed:?}");
        // Somebody else's files are nothing to it.
        let after = value(&python.call(&neighbour, json!({})).await);
        assert_eq!(before, after, "the neighbour was ended");
    }
}

/// A group is made for each worker, and goes with it.
#[tokio::test]
async fn no_control_group_is_left_behind() {
    let Some(python) = behind(&[Wall::Memory]).await else {
        return;
    };
    let who = function("import os\ndef main(p): return os.getpid()");
    let pid = value(&python.call(&who, json!({})).await).as_i64().unwrap();
    let groups = format!("/proc/{}/cgroup", python.process(pid).pid);
    let groups = std::fs::read_to_string(groups).unwrap();
    let path = groups.lines().find_map(|line| {
        let path = line.rsplit(':').next()?;
        path.contains("/worker-").then(|| path.to_owned())
    });
    let path = path.unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places: Vec<std::path::PathBuf> = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4))
        .map(|mount| std::path::Path::new(mount).join(path.trim_start_matches('/')))
        .filter(|folder| folder.exists())
        .collect();
    assert!(!places.is_empty(), "{path}");
    python.runtime.shutdown().await;
    drop(python);
    let house = |folder: &std::path::PathBuf| folder.ancestors().nth(2).unwrap().to_owned();
    eventually("the groups are gone", || {
        places
            .iter()
            .all(|folder| !folder.exists() && !house(folder).exists())
    })
    .await;
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

/// As in a common container.
#[tokio::test]
async fn without_a_control_group_the_server_watches() {
    let small = |config: &mut ProcessConfig| {
        config.memory_bytes = Some(TOGETHER_BYTES);
        config.control_groups = false;
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
