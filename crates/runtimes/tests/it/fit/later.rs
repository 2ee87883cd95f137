//! What a call set to happen later: it happens to no later call.

use crate::support::{call, failure, function, python, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::ids::TaskId;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

const FIRST: &str = "\
import _thread, ctypes, faulthandler, os, signal, sys, threading, time
ME = threading.get_ident()
def raise_here(): ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ME), ctypes.py_object(TimeoutError))
def raises(*a): raise TimeoutError('too late')
";

/// Each would hit the second call, which takes longer.
const LATER: &[&str] = &[
    "threading.Timer(0.4, _thread.interrupt_main).start()",
    "threading.Timer(0.4, os._exit, (3,)).start()",
    "threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()",
    "threading.Timer(0.4, raise_here).start()",
    "threading.Timer(0.4, print, ('from the call before',)).start()",
    "[threading.Timer(0.4 + n / 100, _thread.interrupt_main).start() for n in range(1, 9)]",
    "faulthandler.dump_traceback_later(0.4, exit=True)",
    "faulthandler.dump_traceback_later(0.4, repeat=True)",
    "signal.setitimer(signal.ITIMER_REAL, 0.4)",
    "signal.signal(signal.SIGALRM, raises); signal.setitimer(signal.ITIMER_REAL, 0.4, 0.001)",
    "signal.signal(signal.SIGVTALRM, raises); signal.setitimer(signal.ITIMER_VIRTUAL, 0.1, 0.1)",
    "threading.Thread(target=lambda: (time.sleep(0.4), _thread.interrupt_main())).start()",
    "threading.Thread(target=lambda: (threading.Event().wait(0.4), os._exit(3))).start()",
];

const LAST: &str = "\
def main(p):
    if p.get('set'):
        set_it()
    else:
        until = time.monotonic() + 0.5
        while time.monotonic() < until: pass
    return 'answered'
";

#[tokio::test]
async fn what_a_call_sets_for_later_meets_no_later_call() {
    let Some(python) = python() else {
        return;
    };
    for statement in LATER {
        let probe = function(&format!("{FIRST}def set_it():\n    {statement}\n{LAST}"));
        python.runtime.keep(&probe, true);
        let report = python.call(&probe, json!({"set": true})).await;
        assert_eq!(value(&report), "answered", "{statement}");
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), "answered", "{statement}");
        assert!(report.logs.is_empty(), "{statement}: {:?}", report.logs);
        python.runtime.keep(&probe, false);
    }
}

/// The same at the top of the module, except for its threads, which are its own.
#[tokio::test]
async fn what_loading_sets_for_later_meets_no_call() {
    let Some(python) = python() else {
        return;
    };
    for statement in LATER.iter().take(LATER.len() - 2) {
        let code = format!("{FIRST}{statement}\ndef set_it(): pass\n{LAST}");
        let probe = function(&code);
        python.runtime.warm(&probe).await.unwrap();
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), "answered", "{statement}");
    }
}

/// A thread of the module does as it likes while `main` runs; the host goes on all the same.
#[tokio::test]
async fn a_storm_of_interrupts_loses_no_answer() {
    let Some(python) = python() else {
        return;
    };
    for hit in [
        "_thread.interrupt_main()",
        "os.kill(os.getpid(), signal.SIGINT)",
        "os.kill(os.getpid(), signal.SIGUSR1)",
        "raise_here()",
    ] {
        let code = format!(
            "{FIRST}signal.signal(signal.SIGUSR1, raises)\ngo = threading.Event()\ndef run():\n    go.wait()\n    while True: {hit}; time.sleep(0.0002)\nthreading.Thread(target=run, daemon=True).start()\ndef main(p, u, sdk):\n    go.set()\n    while True:\n        try: return sdk.users.get('ada')['id']\n        except (KeyboardInterrupt, TimeoutError): pass\n"
        );
        let probe = function(&code);
        for number in 0..20 {
            let report = python.call(&probe, json!({})).await;
            if let Err(failed) = &report.result {
                // In the very end of `main`.
                assert_eq!(
                    failed.kind,
                    FailureKind::Exception,
                    "{hit} {number}: {failed:?}"
                );
            }
        }
    }
}

/// `main` has returned, or raised: what comes then changes nothing about it.
#[tokio::test]
async fn what_main_ended_with_stays_what_it_was() {
    let Some(python) = python() else {
        return;
    };
    for (statement, expected) in [
        ("os.getpid = lambda: 4242; return 1", 1),
        ("os._exit = None; return 1", 1),
        ("os.close(1); return 1", 1),
        ("os.closerange(0, 3); return 1", 1),
        ("os.closerange(5, 256); return 1", 1),
        (
            "sys.setrecursionlimit(len(__import__('inspect').stack()) + 20); return 1",
            1,
        ),
        (
            "signal.setitimer(signal.ITIMER_REAL, 0.003); return [signal.signal(signal.SIGALRM, raises), 1][1]",
            1,
        ),
        (
            "os.fstat = os.listdir = os.getcwd = os.lseek = os.dup2 = None; return 1",
            1,
        ),
        (
            "threading.enumerate = threading.Thread.join = sys._current_frames = None; return 1",
            1,
        ),
        ("time.time = time.monotonic = lambda: 0; return 1", 1),
        ("sys.settrace(lambda *a: 1 / 0); return 1", 1),
    ] {
        let probe = function(&format!("{FIRST}def main(p):\n    {statement}"));
        for _ in 0..2 {
            let report = python.call(&probe, json!({})).await;
            assert_eq!(value(&report), expected, "{statement}");
        }
    }
    let code = format!(
        "{FIRST}signal.signal(signal.SIGALRM, raises)\ndef main(p):\n    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0001)\n    raise ValueError('mine')"
    );
    let probe = function(&code);
    for _ in 0..10 {
        let report = python.call(&probe, json!({})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Exception, "{failed:?}");
        assert!(
            failed.traceback.as_deref().unwrap().contains("in main"),
            "{failed:?}"
        );
    }
}

/// The look after a call costs microseconds; a thorough one costs a hundred times as much.
#[tokio::test]
async fn a_call_that_leaves_nothing_gets_the_short_look() {
    let Some(python) = python() else {
        return;
    };
    let plain = "def main(p):";
    let later = "import asyncio\nasync def main(p):\n    await asyncio.sleep(0)";
    for (head, body) in [
        (plain, "pass"),
        (plain, "print('x'); log('y')"),
        (plain, "os.write(1, b'x')"),
        (plain, "decimal.Decimal(1) / 3"),
        (
            plain,
            "with contextlib.redirect_stdout(io.StringIO()): print('x')",
        ),
        (later, "pass"),
    ] {
        let code = format!(
            "import contextlib, decimal, io, os, sys\nnoted = sys.modules['tollgate_noted'].noted\n{head}\n    {body}\n    return [os.environ['TARUVI_EXECUTION_ID'], noted.changed, noted.looks]"
        );
        let probe = function(&code);
        let mut looks = Vec::new();
        for number in 0..10_u128 {
            let deadline = python.clock.monotonic() + Duration::from_secs(10);
            let mut call = call(&probe, &json!({}), deadline);
            let id = uuid::Uuid::from_u128(number + 1);
            call.context.execution_id = TaskId(id);
            let answer = value(&python.runtime.run(call).await);
            assert_eq!(answer[0], id.to_string());
            assert_eq!(answer[1], false, "the host itself noted something");
            looks.push(answer[2].clone());
        }
        looks.dedup();
        assert_eq!(looks.len(), 1, "{head} {body}: thorough looks: {looks:?}");
    }
}

/// In Python and below it, whatever the call before did to that.
#[tokio::test]
async fn the_environment_names_each_call() {
    let Some(python) = python() else {
        return;
    };
    for body in [
        "pass",
        "os.environ[NAME] = 'mine'",
        "os.putenv(NAME, 'mine')",
        "del os.environ[NAME]",
        "os.unsetenv(NAME)",
        "os.environ[NAME] = 'm' * 5000",
    ] {
        let code = format!(
            "import ctypes, os\nNAME = 'TARUVI_EXECUTION_ID'\ng = ctypes.CDLL(None).getenv\ng.restype = ctypes.c_char_p\ndef main(p):\n    seen = [str(g(NAME.encode()), 'utf-8'), os.environ[NAME]]\n    {body}\n    return seen"
        );
        let probe = function(&code);
        for number in 1..5_u128 {
            let deadline = python.clock.monotonic() + Duration::from_secs(10);
            let mut call = call(&probe, &json!({}), deadline);
            let id = uuid::Uuid::from_u128(number);
            call.context.execution_id = TaskId(id);
            let seen = value(&python.runtime.run(call).await);
            assert_eq!(seen, json!([id.to_string(), id.to_string()]), "{body}");
        }
    }
}

/// The C library would keep each value that a variable was ever given.
#[tokio::test]
async fn a_worker_does_not_grow_with_its_calls() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import resource
def main(p):
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if p.get('size') else None
";
    let probe = function(code);
    let mut sizes = Vec::new();
    for round in 0..2_u128 {
        for number in round * 3000..(round + 1) * 3000 {
            let deadline = python.clock.monotonic() + Duration::from_secs(10);
            let mut call = call(&probe, &json!({}), deadline);
            call.context.execution_id = TaskId(uuid::Uuid::from_u128(number));
            python.runtime.run(call).await.result.unwrap();
        }
        let report = python.call(&probe, json!({"size": true})).await;
        sizes.push(value(&report).as_u64().unwrap());
    }
    // In KiB: 3000 values take up 320.
    assert!(sizes[1] <= sizes[0] + 100, "{sizes:?}");
}
