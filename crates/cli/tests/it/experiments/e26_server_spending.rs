//! E26 with the real program: what workers say must not cost the server memory, and the end of a host
//! must not cost a run.

use crate::support::poll;
use crate::support::processes::Process;
use crate::support::server::Server;
use crate::support::watch::Watch;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const APP: &str = "hostile";
/// How much more the server may hold than before, whatever is said to it.
pub(super) const GROWTH_BYTES: u64 = 64 << 20;
/// Workers that say it at the same time.
const AT_ONCE: usize = 8;

/// Writes to its socket what a host never would.
const SAYS: &str = r#"
import os, time

SIZE = 8 * 1024 * 1024 - 400
HEAD = b'{"op":"result","result":'

def fill(unit, size=SIZE):
    return unit * (size // len(unit))

def numbered(size=SIZE):
    return b','.join(b'"%d":0' % number for number in range(size // 12))

def asks(method, args, size):
    return b'{"op":"host","id":1,"method":"' + method + b'","args":{"data":' + args(size) + b'}}'

objects = lambda size: b'[' + fill(b'{"":0},', size) + b'0]'

SHAPES = {
    'objects': lambda: HEAD + objects(SIZE) + b'}',
    'lists': lambda: HEAD + b'[' + fill(b'[],') + b'0]}',
    'deep': lambda: HEAD + fill(b'[') ,
    'deep-objects': lambda: HEAD + fill(b'{"":'),
    'keys': lambda: HEAD + b'{' + numbered() + b'}}',
    'members': lambda: b'{"op":"result",' + numbered() + b'}',
    'string': lambda: HEAD + b'"' + fill(b'x') + b'"}',
    'escapes': lambda: HEAD + b'"' + fill(b'\\u0001') + b'"}',
    'numbers': lambda: HEAD + b'[' + fill(b'1e308,') + b'0]}',
    'a-long-number': lambda: HEAD + fill(b'1') + b'}',
    'small-objects': lambda: HEAD + objects(1_000_000) + b'}',
    'doubtful-objects': lambda: HEAD + b'[1e1,' + fill(b'{"":0},', 1_000_000) + b'0]}',
    'refusal': lambda: b'{"op":"result","result":{"success":false,"errors":' + objects(1_000_000) + b'}}',
    'enrichment': lambda: b'{"op":"result","result":{"params":' + objects(1_000_000) + b'}}',
    'logs': lambda: HEAD + b'0,"logs":[' + fill(b'[0,"","",""],') + b'[0,"","",""]]}',
    'log-objects': lambda: HEAD + b'0,"logs":' + objects(SIZE) + b'}',
    'failure': lambda: b'{"op":"failed","failure":{"kind":"x","message":"' + fill(b'\\n') + b'","traceback":null}}',
    'asks-for-users': lambda: asks(b'users.create', objects, 1_000_000),
    'asks-in-small': lambda: asks(b'users.get', objects, 60_000),
    'asks-too-much': lambda: asks(b'users.get', objects, SIZE),
    'asks-outside': lambda: asks(b'http.request', objects, 5_000_000),
    'garbage': lambda: fill(b'\xff'),
}

def main(params):
    body = SHAPES[params['shape']]()
    sent = len(body).to_bytes(4, 'big') + body
    if params['half']:
        sent = sent[:len(sent) // 2]
    while sent:
        sent = sent[os.write(3, sent):]
    time.sleep(2)
"#;

pub(super) fn resident(server: &Server) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// The most that a server holds while this is kept.
pub(super) struct Peak {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Peak {
    pub(super) fn of(server: &Server) -> Self {
        let (most, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let path = format!("/proc/{}/statm", server.pid());
        let (noted, stop) = (Arc::clone(&most), Arc::clone(&ended));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let Ok(statm) = std::fs::read_to_string(&path) else {
                    return;
                };
                let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
                noted.fetch_max(pages * rustix::param::page_size() as u64, Ordering::SeqCst);
                std::thread::yield_now();
            }
        });
        Self { most, ended }
    }

    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn no_frames_take_the_servers_memory() {
    let server = Server::start().await;
    let api = &server.api;
    api.app(APP).await;
    let options = json!({"timeout_seconds": 5, "memory_mb": 256});
    for number in 0..AT_ONCE {
        api.function(APP, &format!("says-{number}"), SAYS, &options)
            .await;
    }
    let say = |shape: &str, half: bool| {
        let body = json!({"params": {"shape": shape, "half": half}});
        let paths = (0..AT_ONCE).map(|number| format!("says-{number}"));
        let calls = paths.map(|name| {
            let body = body.clone();
            async move { api.execute(APP, &name, &body).await }
        });
        join_all(calls.collect::<Vec<_>>())
    };
    // What buffers and threads take once they are there.
    say("string", false).await;
    let before = resident(&server);
    let peak = Peak::of(&server);
    let shapes: Vec<_> = SAYS
        .lines()
        .filter_map(|line| line.strip_prefix("    '")?.split_once("': lambda"))
        .map(|(shape, _)| shape.to_owned())
        .collect();
    assert!(shapes.len() > 20, "{shapes:?}");
    for shape in &shapes {
        for answer in say(shape, false).await {
            assert!(answer.status < 600, "{shape}: {answer:?}");
        }
        let grown = peak.most().saturating_sub(before);
        assert!(grown < GROWTH_BYTES, "{shape}: {} MiB", grown >> 20);
    }
    for shape in ["objects", "string", "asks-for-users"] {
        say(shape, true).await;
        let grown = peak.most().saturating_sub(before);
        assert!(grown < GROWTH_BYTES, "half of {shape}: {} MiB", grown >> 20);
    }
    println!(
        "grew by {} MiB at most",
        peak.most().saturating_sub(before) >> 20
    );
    drop(peak);
    api.get("/healthz").await.ok();
    server.stop().await;
}

/// Ends by itself, but not before a kill can come.
const SLOW: &str = "import time\n\ndef main(params):\n    time.sleep(1.5)\n    return 'ended'\n";

#[tokio::test]
async fn a_killed_host_costs_a_queued_run_no_attempt() {
    let server = Server::start().await;
    let api = &server.api;
    api.app(APP).await;
    api.function(APP, "slow", SLOW, &json!({"max_attempts": 1}))
        .await;
    let mut watch = Watch::open(api).await;
    let run = api.queue(APP, "slow").await;
    watch.state(run, "running").await;
    // Launchers, hosts and workers of all: whatever dies first takes the rest along.
    let victims = server.processes();
    assert!(victims.len() >= 3, "{victims:?}");
    for victim in &victims {
        victim.kill();
    }
    let ended: Value = watch.ended(run).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(ended["uncounted"], 1, "{ended}");
    // A caller who waits is told, and the next one is served.
    let none = json!({"params": {}});
    let waiting = api.execute(APP, "slow", &none);
    let killing = async {
        let running = poll::holds_soon(|| server.processes().len() > 4);
        assert!(running);
        server.processes().iter().for_each(Process::kill);
    };
    let (answer, ()) = tokio::join!(waiting, killing);
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    api.execute(APP, "slow", &json!({"params": {}})).await.ok();
    server.stop().await;
}
