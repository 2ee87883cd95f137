//! Work that goes on after the answer: none does.

use crate::poll::eventually as until;
use crate::processes::Process;
use crate::support::{Directory, Python, call, function, python, value};
use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tollgate_core::ports::runtime::{HostCalls, HostError, Runtime as _};

fn is_stopped(process: &Process) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    let state = text.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
    state.is_some_and(|rest| rest.starts_with('T'))
}

async fn pid_of(python: &Python, report: Value) -> Process {
    python.process(report["pid"].as_i64().unwrap())
}

/// It would take the processor from the next call.
#[tokio::test]
async fn a_worker_whose_threads_run_on_is_ended_and_the_author_is_told() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import hashlib, os, threading
def burn():
    while True: hashlib.sha256(b'x' * 100000).digest()
def main(p):
    for _ in range(2): threading.Thread(target=burn, daemon=True).start()
    return {'pid': os.getpid()}
";
    let probe = function(code);
    for _ in 0..5 {
        let report = python.call(&probe, json!({})).await;
        let pid = value(&report)["pid"].as_i64().unwrap();
        let last = report.logs.last().unwrap();
        assert_eq!(last.logger, "tollgate");
        assert!(last.message.contains("2 threads still ran"), "{last:?}");
        until("the worker is gone", || {
            python.processes().iter().all(|it| it.inner != pid)
        })
        .await;
    }
}

/// Threads of the module, and those that wait for work, stay; between calls they get no time.
#[tokio::test]
async fn a_worker_with_threads_is_stopped_between_calls() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import os, threading
from concurrent.futures import ThreadPoolExecutor
def burn():
    while True: pass
threading.Thread(target=burn, daemon=True).start()
pool = ThreadPoolExecutor(2)
def main(p):
    return {'pid': os.getpid(), 'sum': sum(pool.map(abs, [-1, -2]))}
";
    let probe = function(code);
    python.runtime.warm(&probe).await.unwrap();
    let first = value(&python.call(&probe, json!({})).await);
    for _ in 0..30 {
        let again = value(&python.call(&probe, json!({})).await);
        assert_eq!(again, json!({"pid": first["pid"], "sum": 3}));
        let process = pid_of(&python, again).await;
        until("it is stopped", || is_stopped(&process)).await;
    }
}

/// A thread that Python knows nothing of: the server looks from outside.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn native_threads_that_run_on_are_met_from_outside() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import ctypes, mmap, os
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(b'\\xeb\\xfe')  # jmp to itself
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
def main(p):
    if p.get('start'):
        thread = ctypes.c_void_p()
        ctypes.CDLL(None).pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(address), None)
    return {'pid': os.getpid()}
";
    let probe = function(code);
    let first = value(&python.call(&probe, json!({"start": true})).await);
    for _ in 0..5 {
        let process = pid_of(&python, first.clone()).await;
        until("it is stopped", || is_stopped(&process)).await;
        assert_eq!(value(&python.call(&probe, json!({})).await), first);
    }
}

/// A platform whose answers about `slow` come when they are let go.
struct Slow(Notify);

#[async_trait]
impl HostCalls for Slow {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        if args.get().contains("slow") {
            self.0.notified().await;
        }
        Directory.call(method, args).await
    }
}

#[tokio::test]
async fn requests_of_left_over_threads_hold_nothing_up_and_answer_nobody_else() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import threading, time
seen, asked = [], threading.Event()
def later(client):
    asked.set()
    try: seen.append(client.users.get('slow'))
    except Exception as error: seen.append(str(error))
    print('too late')
def main(p, u, client):
    if p.get('leave'):
        threading.Thread(target=later, args=(client,), daemon=True).start()
        asked.wait(); time.sleep(0.1)
        return 'answered'
    deadline = time.monotonic() + 5
    while not seen and time.monotonic() < deadline: time.sleep(0.001)
    return [seen, client.users.get('ada')['id']]
";
    let probe = function(code);
    let host = Arc::new(Slow(Notify::new()));
    let deadline = python.clock.monotonic() + Duration::from_secs(10);
    let mut first = call(&probe, &json!({"leave": true}), deadline);
    first.host = Arc::clone(&host) as Arc<dyn HostCalls>;
    let report = python.runtime.run(first).await;
    assert_eq!(value(&report), "answered");
    let worker = report.worker.clone();
    let report = python.call(&probe, json!({})).await;
    assert_eq!(report.worker, worker);
    assert_eq!(
        value(&report),
        json!([["The call that made this request is over"], 5])
    );
    assert!(report.logs.is_empty(), "{:?}", report.logs);
}

#[tokio::test]
async fn what_a_left_over_thread_prints_belongs_to_no_later_call() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import threading, time
go, printed = threading.Event(), threading.Event()
def later():
    go.wait(); print('from the call before'); printed.set()
def main(p):
    if p.get('leave'):
        threading.Thread(target=later, daemon=True).start()
    else:
        go.set(); printed.wait(5)
    print('mine')
";
    let probe = function(code);
    for leave in [true, false] {
        let report = python.call(&probe, json!({"leave": leave})).await;
        let lines: Vec<_> = report.logs.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(lines, ["mine"]);
    }
}

/// What waits for work works for whichever call gives it some.
const POOLS: &[(&str, &str)] = &[
    (
        "a pool of threads",
        "from multiprocessing.pool import ThreadPool\ndef make(): return ThreadPool(2)\ndef work(pool): return pool.map(say, [1, 2])",
    ),
    (
        "an executor",
        "from concurrent.futures import ThreadPoolExecutor\ndef make(): return ThreadPoolExecutor(2)\ndef work(pool): return list(pool.map(say, [1, 2]))",
    ),
    (
        "a thread at a queue",
        "import queue, threading\ndef make():\n    jobs, done = queue.Queue(), queue.Queue()\n    def run():\n        while True: done.put(say(jobs.get()))\n    threading.Thread(target=run, daemon=True).start()\n    return jobs, done\ndef work(pool):\n    pool[0].put(1); pool[0].put(2); return [pool[1].get(), pool[1].get()]",
    ),
    (
        "a thread at a simple queue",
        "import queue, threading\ndef make():\n    jobs, done = queue.SimpleQueue(), queue.SimpleQueue()\n    def run():\n        while True: done.put(say(jobs.get()))\n    threading.Thread(target=run, daemon=True).start()\n    return jobs, done\ndef work(pool):\n    pool[0].put(1); pool[0].put(2); return [pool[1].get(), pool[1].get()]",
    ),
    (
        "a loop in a thread",
        "import asyncio, threading\ndef make():\n    loop = asyncio.new_event_loop(); threading.Thread(target=loop.run_forever, daemon=True).start(); return loop\ndef work(loop):\n    async def both(): return [say(1), say(2)]\n    return asyncio.run_coroutine_threadsafe(both(), loop).result(5)",
    ),
];

#[tokio::test]
async fn threads_that_wait_for_work_stay_and_are_heard() {
    let Some(python) = python() else {
        return;
    };
    for (kind, made) in POOLS {
        let code = format!(
            "import os\ndef say(n):\n    print('said', n); return n\n{made}\npool = None\ndef main(p):\n    global pool\n    pool = pool or make()\n    return [os.getpid(), work(pool)]"
        );
        let probe = function(&code);
        let first = value(&python.call(&probe, json!({})).await);
        assert_eq!(first[1], json!([1, 2]), "{kind}");
        for _ in 0..3 {
            let report = python.call(&probe, json!({})).await;
            assert_eq!(value(&report), first, "{kind}");
            let mut lines: Vec<_> = report.logs.iter().map(|it| it.message.as_str()).collect();
            lines.sort_unstable();
            assert_eq!(lines, ["said 1", "said 2"], "{kind}");
        }
    }
}

/// They would go on by themselves, at a time that may be a later call's.
#[tokio::test]
async fn a_thread_that_waits_for_a_time_ends_its_worker() {
    let Some(python) = python() else {
        return;
    };
    for wait in [
        "threading.Event().wait(60)",
        "threading.Condition().acquire() and time.sleep(60)",
        "queue.Queue().get(timeout=60)",
        "queue.SimpleQueue().get(timeout=60)",
        "threading.main_thread().join(60)",
        "asyncio.run(asyncio.sleep(60))",
        "threading.Semaphore(0).acquire(timeout=60)",
    ] {
        let code = format!(
            "import asyncio, os, queue, threading, time\ndef wait():\n    {wait}\ndef main(p):\n    threading.Thread(target=wait, daemon=True).start()\n    return 'answered'"
        );
        let probe = function(&code);
        let mut workers = Vec::new();
        for _ in 0..2 {
            let report = python.call(&probe, json!({})).await;
            assert_eq!(value(&report), "answered", "{wait}");
            let note = &report.logs.last().unwrap().message;
            assert!(note.contains("waited for a time"), "{wait}: {note}");
            workers.push(report.worker);
        }
        assert_ne!(workers[0], workers[1], "{wait}");
    }
}
