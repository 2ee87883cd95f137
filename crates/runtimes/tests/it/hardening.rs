//! Functions that misbehave: each fails alone, with a message that names what it ran into.

use crate::support::{failure, function, function_with, python, value};
use serde_json::json;
use std::os::fd::AsRawFd as _;
use std::time::Duration;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

macro_rules! python_or_skip {
    () => {
        match python() {
            Some(python) => python,
            None => return,
        }
    };
}

#[tokio::test]
async fn the_end_of_the_worker_is_a_crash_with_its_logs() {
    let python = python_or_skip!();
    for (end, message) in [
        ("os._exit(3)", "exited with status 3"),
        ("ctypes.string_at(0)", "signal 11 (SIGSEGV)"),
        ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL)"),
        ("os.abort()", "signal 6 (SIGABRT)"),
    ] {
        let probe = function(&format!(
            "import os, ctypes\ndef main(p):\n    print('before')\n    if p: {end}\n    return 1"
        ));
        let report = python.call(&probe, json!({"go": 1})).await;
        assert_eq!(failure(&report).kind, FailureKind::Crashed, "{end}");
        assert!(
            failure(&report).message.contains(message),
            "{end}: {:?}",
            failure(&report)
        );
        assert_eq!(report.logs[0].message, "before", "{end}");
    }
}

#[tokio::test]
async fn ten_megabytes_of_print_are_cut() {
    let python = python_or_skip!();
    for print in [
        "for _ in range(100_000): print('x' * 99)",
        "print('x' * 10_000_000)",
        "import sys\n    for _ in range(1000): sys.stdout.write('x' * 10_000)",
    ] {
        let report = python
            .once(&format!("def main(p):\n    {print}\n    return 1"))
            .await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
        assert!(failed.message.contains("log"), "{failed:?}");
        let last = report.logs.last().unwrap();
        assert_eq!(last.logger, "tollgate");
        assert!(
            last.message.ends_with("the rest was cut."),
            "{}",
            last.message
        );
        let kept: usize = report.logs[..report.logs.len() - 1]
            .iter()
            .map(|line| line.message.len())
            .sum();
        assert!(
            kept <= limits::LOG_BYTES && kept > limits::LOG_BYTES / 2,
            "{kept}"
        );
    }
}

#[tokio::test]
async fn a_function_that_swallows_the_stop_fails_all_the_same() {
    let python = python_or_skip!();
    let code = "def main(p):\n    n = 0\n    while n < 20_000:\n        try:\n            print('x')\n        except BaseException:\n            pass\n        n += 1\n    return n";
    let report = python.once(code).await;
    let failed = failure(&report);
    assert_eq!(
        failed.message,
        "The function wrote more than 10000 log lines and was stopped."
    );
    assert_eq!(report.logs.len(), limits::LOG_LINES + 1);
}

#[tokio::test]
async fn a_memory_bomb_reaches_its_limit_alone() {
    let python = python_or_skip!();
    let small = FunctionOptions {
        memory_mb: Some(64),
        ..FunctionOptions::default()
    };
    let neighbour = function("def main(p): return 'well'");
    python.call(&neighbour, json!({})).await;
    for bomb in [
        "bytearray(1 << 30)",
        "'x' * (1 << 30)",
        "[[0] * 1000 for _ in range(10**9)]",
    ] {
        let probe = function_with(&format!("def main(p): return len({bomb})"), small.clone());
        let (report, beside) = tokio::join!(
            python.call(&probe, json!({})),
            python.call(&neighbour, json!({}))
        );
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{bomb}: {failed:?}");
        assert!(
            failed.message.contains("64 MiB of memory"),
            "{bomb}: {failed:?}"
        );
        assert_eq!(value(&beside), "well");
    }
    let roomy = function_with("def main(p): return len(bytearray(40 << 20))", small);
    assert_eq!(value(&python.call(&roomy, json!({})).await), 40 << 20);
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_end() {
    let python = python_or_skip!();
    let options = FunctionOptions {
        timeout_seconds: Some(0.3),
        ..FunctionOptions::default()
    };
    for body in [
        "while True: pass",
        "import time, signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)",
        "while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "import re; re.match('(a*)*b', 'a' * 40)",
    ] {
        let probe = function_with(
            &format!("import os\ndef main(p):\n    print(os.getpid())\n    {body}"),
            options.clone(),
        );
        python.runtime.warm(&probe).await.unwrap();
        let started = python.clock.monotonic();
        let report = python
            .call_within(&probe, json!({}), Duration::from_millis(300))
            .await;
        let took = python.clock.monotonic() - started;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Timeout, "{failed:?}");
        assert!(failed.message.contains("time limit of 300ms"), "{failed:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        let pid: i64 = report.logs[0].message.parse().unwrap();
        let left = python.processes();
        assert!(left.iter().all(|it| it.inner != pid), "{body}: {left:?}");
    }
}

#[tokio::test]
async fn descriptors_of_the_server_are_not_inherited() {
    let canary = tempfile::NamedTempFile::new().unwrap();
    // Rust opens files close-on-exec; this copy is not.
    let leaked = rustix_dup(canary.as_file());
    let python = python_or_skip!();
    let code = "import os\ndef main(p): return os.getpid()";
    let pid = value(&python.once(code).await).as_i64().unwrap();
    let worker = python.process(pid).pid;
    let name = canary.path().to_str().unwrap();
    let scratch = std::fs::read_link(format!("/proc/{worker}/cwd")).unwrap();
    let scratch = scratch.to_str().unwrap().to_owned();
    for open in std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap() {
        let open = std::fs::read_link(open.unwrap().path()).unwrap();
        let open = open.to_str().unwrap();
        assert!(!open.contains(name), "{open}");
        let known = open == "/dev/null"
            || open.starts_with("socket:")
            || open.starts_with("/memfd:tollgate-")
            || scratch == open;
        assert!(known, "{open}");
    }
    drop(leaked);
}

/// A duplicate without close-on-exec, closed when dropped.
fn rustix_dup(file: &std::fs::File) -> std::os::fd::OwnedFd {
    let copy = rustix::io::dup(file).unwrap();
    assert!(
        rustix::io::fcntl_getfd(&copy).unwrap().is_empty(),
        "{}",
        copy.as_raw_fd()
    );
    copy
}

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_is_killed() {
    let python = python_or_skip!();
    let neighbour = function("def main(p): return 'well'");
    for garbage in [
        r"b'\0\0\0\5hello'",
        r"b'\xff\xff\xff\xff'",
        r"b'\0\0\0\2{}'",
        r#"b'\0\0\0\x0f{"op":"ready"}  '"#,
        r#"b'\0\0\0\x0f{"op":"result"}{"op":"result"}'"#,
        r#"b'\0\0\0\x10{"op":"unknown"} '"#,
    ] {
        let probe = function(&format!(
            "import os, time\ndef main(p):\n    os.write(3, {garbage})\n    time.sleep(60)"
        ));
        let report = python.call(&probe, json!({})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Crashed, "{garbage}: {failed:?}");
        assert!(
            failed.message.contains("no answer"),
            "{garbage}: {failed:?}"
        );
        assert_eq!(value(&python.call(&neighbour, json!({})).await), "well");
    }
}

#[tokio::test]
async fn what_a_worker_sends_uncalled_is_never_an_answer() {
    let python = python_or_skip!();
    // It sends its answer itself, and another one for the next call.
    let code = "import os, time\ndef main(p):\n    pid = os.getpid()\n    for result in (str(pid), '\"forged\"'):\n        body = ('{\"op\":\"result\",\"result\":' + result + '}').encode()\n        os.write(3, len(body).to_bytes(4, 'big') + body)\n        time.sleep(0.05)\n    open('late-%d' % pid, 'w').close()\n    time.sleep(60)";
    let probe = function(code);
    let first = value(&python.call(&probe, json!({})).await);
    let mark = format!("late-{first}");
    // Seen twice, so that this process has had time to hear of it in between.
    let mut seen = 0;
    let sent = || {
        seen += usize::from(python.wrote(&mark));
        seen == 2
    };
    crate::poll::eventually("the forged answer is sent", sent).await;
    let second = value(&python.call(&probe, json!({})).await);
    assert!(second.is_number() && second != first, "{second}");
}

#[tokio::test]
async fn a_module_that_does_not_end_loading_is_stopped() {
    let Some(python) =
        crate::support::python_with(|config| config.load = Duration::from_millis(200))
    else {
        return;
    };
    let report = python.once("print('in')\nwhile True: pass").await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Load, "{failed:?}");
    assert!(failed.message.contains("200ms"), "{failed:?}");
    assert_eq!(report.logs[0].message, "in");
    let report = python.once("import os\nos._exit(5)").await;
    assert_eq!(failure(&report).kind, FailureKind::Load);
    assert!(
        failure(&report).message.contains("status 5"),
        "{:?}",
        failure(&report)
    );
}

#[tokio::test]
async fn logs_of_one_call_never_show_in_the_next() {
    let python = python_or_skip!();
    let code = "import os\ndef main(p):\n    if p.get('end'): os._exit(1)\n    print('secret')";
    let probe = function(code);
    assert_eq!(python.call(&probe, json!({})).await.logs.len(), 1);
    let report = python.call(&probe, json!({"end": 1})).await;
    assert_eq!(failure(&report).kind, FailureKind::Crashed);
    assert!(report.logs.is_empty(), "{:?}", report.logs);
}

#[tokio::test]
async fn without_walls_what_a_function_started_dies_with_it() {
    let Some(python) = crate::support::python_with(|config| config.sandbox = false) else {
        return;
    };
    // A double fork into a session of its own, which outlives its parent.
    let code = "import os, time\ndef main(p):\n    r, w = os.pipe()\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            os.write(w, str(os.getpid()).encode())\n            time.sleep(600)\n        os._exit(0)\n    print(os.read(r, 20).decode())\n    time.sleep(600)";
    let probe = function(code);
    python.runtime.warm(&probe).await.unwrap();
    let report = python
        .call_within(&probe, json!({}), Duration::from_millis(500))
        .await;
    assert_eq!(failure(&report).kind, FailureKind::Timeout);
    let daemon: i64 = report.logs[0].message.parse().unwrap();
    let is_gone = || crate::processes::Process::read(daemon).is_none();
    crate::poll::eventually("the daemon is dead", is_gone).await;
}

#[tokio::test]
async fn without_walls_a_forked_child_never_answers_for_its_parent() {
    let Some(python) = crate::support::python_with(|config| config.sandbox = false) else {
        return;
    };
    let code = "import os\ndef main(p):\n    if os.fork() == 0:\n        return 'child'\n    os.wait()\n    return 'parent'";
    let probe = function(code);
    for _ in 0..3 {
        assert_eq!(value(&python.call(&probe, json!({})).await), "parent");
    }
}
