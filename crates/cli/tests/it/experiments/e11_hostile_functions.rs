//! E11 to E17 with the real program: functions that attack time, processes, memory, output, files, the
//! network and the kernel. Every single way stands in `crates/runtimes/tests/it/walls/`; here it is
//! the server that has to stay well, and its own files and address that are the canaries.

use crate::support::code::AGREE;
use crate::support::poll;
use crate::support::server::Server;
use crate::support::skipped;
use crate::support::watch::Watch;
use crate::support::world::World;
use serde_json::{Value, json};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

const READS: &str = include_str!("../../../../runtimes/tests/it/walls/read_files.py");
const SENDS: &str = include_str!("../../../../runtimes/tests/it/walls/send_packets.py");
const CALLS: &str = include_str!("../../../../runtimes/tests/it/walls/make_calls.py");

const LOOPS: &str = "\
import signal

def main(params):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
";

/// Says no if anything started.
const FORKS: &str = "\
import os, threading

def main(params):
    started = 0
    for _ in range(1000):
        try:
            if os.fork() == 0:
                os.setsid()
                threading.Event().wait()
            started += 1
        except OSError:
            pass
    return {'success': started == 0, 'error': f'{started} processes'}
";

const THREADS: &str = "\
import threading

def main(params):
    started = 0
    try:
        while started < 10_000:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    return {'success': started < 100, 'error': f'{started} threads'}
";

const FILLS_MEMORY: &str =
    "def main(params):\n    kept = [bytearray(b'x' * (1 << 20)) for _ in range(1 << 20)]\n";

const MAPS_MEMORY: &str = "import mmap\n\ndef main(params):\n    kept = []\n    for _ in range(1 << 10):\n        kept.append(mmap.mmap(-1, 1 << 24))\n        kept[-1].write(b'x' * (1 << 24))\n";

const PRINTS: &str = "\
import sys

def main(params):
    while True:
        sys.stdout.write('\\udcff' + 'x' * 1_000_000)
";

const ANSWERS_MUCH: &str = "def main(params):\n    return {'much': 'x' * (40 << 20)}\n";

const OPENS: &str = "\
kept = []

def main(params):
    try:
        while len(kept) < 10_000:
            kept.append(open(str(len(kept)), 'w'))
    except OSError:
        pass
    return {'success': len(kept) < 256, 'error': f'{len(kept)} files'}
";

const APP: &str = "hostile";
/// What stays of hosts and launchers at most: for the one site and for none yet, a launcher, its host,
/// and a spare worker.
const STANDING: usize = 6;
const SERVER_GROWTH_BYTES: u64 = 50 << 20;

async fn server(world: World) -> Option<Server> {
    let idle = [("TOLLGATE_PYTHON__IDLE_SECONDS", "0.2")];
    let server = world.server(&idle).await?;
    server.api.app(APP).await;
    Some(server)
}

/// Each in three worlds: as root, as an ordinary user, and where namespaces and mounts are refused.
macro_rules! in_each_world {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::support::world::World;

            async fn run(world: World) {
                if let Some(server) = super::server(world).await {
                    super::$test(server).await;
                }
            }

            #[tokio::test]
            async fn as_root() {
                run(World::Root).await;
            }

            #[tokio::test]
            async fn as_an_ordinary_user() {
                run(World::Ordinary).await;
            }

            #[tokio::test]
            async fn where_unshare_and_mount_are_refused() {
                run(World::Refused).await;
            }
        })+
    };
}

in_each_world! {
    e11_what_never_ends_is_ended_in_pre_and_post,
    e12_to_e14_no_function_exhausts_the_server,
    e15_no_way_leads_to_the_servers_files,
    e16_nothing_that_a_function_sends_arrives,
    e17_no_call_reaches_another_process_or_the_kernels_depths,
}

#[track_caller]
fn nothing_was_left_behind(server: &Server) {
    let quiet = poll::holds_soon(|| server.processes().len() <= STANDING);
    assert!(quiet, "left behind: {:?}", server.processes());
}

/// What the server holds: resident bytes and open descriptors.
fn footprint(server: &Server) -> (u64, usize) {
    let proc = format!("/proc/{}", server.pid());
    let statm = std::fs::read_to_string(format!("{proc}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    let descriptors = std::fs::read_dir(format!("{proc}/fd")).unwrap().count();
    (pages * rustix::param::page_size() as u64, descriptors)
}

async fn remove(server: &Server, name: &str) {
    let path = format!("/api/apps/{APP}/functions/{name}/");
    server.api.delete(&path).await.ok();
}

async fn e11_what_never_ends_is_ended_in_pre_and_post(server: Server) {
    let api = &server.api;
    let short = json!({"timeout_seconds": 0.5, "max_attempts": 1});
    let id = api.function(APP, "loops", LOOPS, &short).await;
    api.subscribe("PRE_USER_CREATE", id).await;
    let answer = api.create_user("ann").await;
    let message = answer.refused(400, "PRE_EVENT_FAILED");
    assert!(message.contains("'loops'"), "{message}");
    assert_eq!(answer.body["errors"][0]["kind"], "timeout", "{answer:?}");
    api.get("/api/users/ann/").await.refused(404, "NOT_FOUND");
    remove(&server, "loops").await;
    nothing_was_left_behind(&server);

    let id = api.function(APP, "loops-later", LOOPS, &short).await;
    api.subscribe("POST_USER_CREATE", id).await;
    let mut watch = Watch::open(api).await;
    api.create_user("ann").await.ok();
    let runs = api.runs_of("loops-later").await;
    let run = watch.ended(runs[0]["id"].as_i64().unwrap()).await;
    assert_eq!(run["state"], "dead", "{run}");
    assert_eq!(run["error"]["kind"], "timeout", "{run}");
    remove(&server, "loops-later").await;
    nothing_was_left_behind(&server);
    server.stop().await;
}

async fn e12_to_e14_no_function_exhausts_the_server(server: Server) {
    let api = &server.api;
    let neighbour = api.function(APP, "neighbour", AGREE, &json!({})).await;
    api.subscribe("PRE_USER_CREATE", neighbour).await;
    api.create_user("first").await.ok();
    // The site's own host, and the one that waits for the next site.
    let mut stderr = server.stderr.clone();
    stderr.line("zygote.started").await;
    stderr.line("zygote.started").await;
    let before = footprint(&server);
    let small = json!({"memory_mb": 64});
    let ready = api.get("/readyz").await.ok();
    let counted_apart = !ready["runtimes"]
        .to_string()
        .contains(r#""wall":"threads""#);
    for (name, code, options, kind) in [
        ("forks", FORKS, json!({}), None),
        ("threads", THREADS, json!({}), None),
        ("opens", OPENS, json!({}), None),
        ("fills-memory", FILLS_MEMORY, small.clone(), Some("limit")),
        ("maps-memory", MAPS_MEMORY, small, Some("limit")),
        ("prints", PRINTS, json!({}), Some("limit")),
        ("answers-much", ANSWERS_MUCH, json!({}), Some("limit")),
    ] {
        if name == "threads" && !counted_apart {
            skipped("threads of one worker are not counted apart in this world");
            continue;
        }
        let id = api.function(APP, name, code, &options).await;
        api.subscribe("PRE_USER_CREATE", id).await;
        let answer = api.create_user(name).await;
        match kind {
            // It achieved nothing, of which it would have told.
            None => drop(answer.ok()),
            Some(kind) => {
                let message = answer.refused(400, "PRE_EVENT_FAILED");
                assert!(message.contains(name), "{message}");
                assert_eq!(answer.body["errors"][0]["kind"], kind, "{answer:?}");
            }
        }
        remove(&server, name).await;
        api.create_user(&format!("after-{name}")).await.ok();
    }
    // A worker that was let go is still ending for a moment. Idle connections of the client come and
    // go; nothing grows with the number of attacks.
    let fits = |now: (u64, usize)| now.0 < before.0 + SERVER_GROWTH_BYTES && now.1 <= before.1 + 4;
    let small = poll::holds_soon(|| fits(footprint(&server)));
    assert!(small, "{before:?} {:?}", footprint(&server));
    remove(&server, "neighbour").await;
    nothing_was_left_behind(&server);
    server.stop().await;
}

/// Runs an attack and gives back the outcome of each of its ways, all of which it lists.
async fn attack(server: &Server, name: &str, code: &str, params: Value) -> Value {
    let api = &server.api;
    api.function(APP, name, code, &json!({})).await;
    let body = json!({"params": params});
    let answer = api.execute(APP, name, &body).await.ok();
    remove(server, name).await;
    answer
}

#[track_caller]
fn all_refused(ways: &Value, least: usize) {
    let ways = ways.as_object().unwrap();
    assert!(ways.len() > least, "{ways:?}");
    for (way, outcome) in ways {
        let refused = outcome.as_str().is_some_and(|it| it.starts_with("refused"));
        assert!(refused, "{way}: {outcome}");
    }
}

async fn e15_no_way_leads_to_the_servers_files(server: Server) {
    let data = server.folder.data();
    let files = ["tollgate.db", "jwt.key", "cli.json"];
    let canary = std::fs::read(data.join("jwt.key")).unwrap();
    let canary = String::from_utf8_lossy(&canary).trim().to_owned();
    let launcher = server.processes()[0].pid;
    let params = json!({
        "folder": data, "files": files, "server": server.pid(), "launcher": launcher,
    });
    let answer = attack(&server, "reads", READS, params).await;
    all_refused(&answer["data"], 20);
    let text = answer.to_string();
    for secret in [canary.as_str(), "root:", "SQLite format 3"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    nothing_was_left_behind(&server);
    server.stop().await;
}

async fn e16_nothing_that_a_function_sends_arrives(server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stream = UnixListener::bind(folder.path().join("stream")).unwrap();
    let datagrams = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let own: u16 = server.api.url.rsplit(':').next().unwrap().parse().unwrap();
    // A canary, the server itself, and the database and broker of another service on this machine.
    for port in [tcp.local_addr().unwrap().port(), own, 5432, 4222] {
        let params = json!({
            "tcp": port,
            "mptcp": port,
            "udp": udp.local_addr().unwrap().port(),
            "folder": folder.path(),
            "abstract": "tollgate-canary",
        });
        let answer = attack(&server, "sends", SENDS, params).await;
        all_refused(&answer["data"], 15);
    }
    let mut buffer = [0; 64];
    for arrived in [
        tcp.accept().is_ok(),
        stream.accept().is_ok(),
        udp.recv(&mut buffer).is_ok(),
        datagrams.recv(&mut buffer).is_ok(),
    ] {
        assert!(!arrived);
    }
    server.stop().await;
}

async fn e17_no_call_reaches_another_process_or_the_kernels_depths(server: Server) {
    let api = &server.api;
    let sibling = "import os\nseen = 0\n\ndef main(params):\n    global seen\n    seen += 1\n    return [os.getpid(), seen]\n";
    let id = api.function(APP, "sibling", sibling, &json!({})).await;
    // A worker of a PRE function stays.
    api.subscribe("PRE_USER_DELETE", id).await;
    let before = api.execute(APP, "sibling", &json!({})).await.ok();
    let params = json!({"sibling": before["data"][0], "server": server.pid()});
    let answer = attack(&server, "calls", CALLS, params).await;
    let calls = answer["data"]["calls"].as_object().unwrap();
    assert!(calls.len() > 40, "{answer}");
    for (call, outcome) in calls {
        let refused = ["EPERM", "EACCES", "ENOSYS"].map(|name| outcome == name);
        assert!(refused.contains(&true), "{call}: {outcome}");
    }
    assert_eq!(answer["data"]["threads"], 8, "{answer}");
    let after = api.execute(APP, "sibling", &json!({})).await.ok();
    assert_eq!(after["data"], json!([before["data"][0], 2]));
    server.stop().await;
}
