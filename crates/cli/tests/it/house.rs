//! A supervised house: every loop that the process lives by goes on, or the server ends with an error; and
//! nothing that the server has started outlives it. Against the real program.

use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::poll;
use crate::support::processes::Process;
use crate::support::server::Server;
use crate::support::world::World;
use rustix::process::Signal;
use serde_json::json;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::task::JoinHandle;

const ONE: &str = "def main(params): return 1\n";
/// Asks for a name.
const ASKS: &str = "\
def main(params, user_data, sdk_client):
    try:
        sdk_client.http.get('http://name.test/')
    except Exception:
        pass
    return 1
";

/// Does whatever makes the loops turn, until nobody answers any more.
fn busy(api: Api, folder: Arc<Folder>, code: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        let post = |path: &str, body| api.request(reqwest::Method::POST, path).json(&body);
        for number in 0.. {
            let name = format!("u{number}");
            let user = json!({"username": name, "email": format!("{name}@example.com")});
            let function = json!({"name": "job", "slug": "job", "code": code,
                "execution_mode": "app", "environment": "python", "network": "egress"});
            let functions = "/api/apps/jobs/functions/";
            for request in [
                post("/api/users/", user),
                api.request(reqwest::Method::GET, "/api/users/"),
                post("/api/apps/", json!({"name": "jobs", "slug": "jobs"})),
                post(functions, function),
                post(&format!("{functions}job/execute/"), json!({"async": true})),
            ] {
                if api.try_send(request).await.is_err() {
                    return;
                }
            }
            if number == 0 {
                folder.run(&["admin", "egress"]).await;
            }
        }
    })
}

/// How a server ends in which the loop at `point` panics, and what it says.
async fn with_panic_at(point: &str, folder: &Arc<Folder>) -> (ExitStatus, String) {
    // Late enough for the start to get through, where that needs it.
    let hit = if point == "loop.writer" { 60 } else { 1 };
    let fault = format!("{point}=panic({hit})");
    let settings = [
        ("FAILPOINTS", &*fault),
        ("TOLLGATE_EXECUTION__LEASE_SECONDS", "1"),
        ("TOLLGATE_PYTHON__IDLE_SECONDS", "0.2"),
        ("TOLLGATE_GRACE_SECONDS", "2"),
        // Nobody listens there.
        ("TOLLGATE_OUTBOUND__DNS_SERVER", "127.0.0.1:9"),
    ];
    let world = match point {
        // There are no control groups for an ordinary user.
        "loop.watchdog" => World::Ordinary,
        _ => World::Root,
    };
    let started = world.try_server_in(folder, &settings).await;
    match started {
        None => panic!("no {world:?} on this machine"),
        Some(Err(ended)) => ended,
        Some(Ok(server)) => {
            if point == "loop.signals" {
                server.signal(Signal::TERM);
            }
            let code = if point == "loop.resolver" { ASKS } else { ONE };
            let busy = busy(server.api.clone(), Arc::clone(folder), code);
            let stderr = server.stderr.clone();
            let status = server.ended().await;
            busy.abort();
            (status, stderr.so_far())
        }
    }
}

/// When one panics, the server says that it is not ready, hands its work back and ends with an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_panics_ends_the_server_with_an_error() {
    for (point, name) in [
        ("loop.queue", "queue"),
        ("loop.claimer", "claimer"),
        ("loop.recorder", "recorder"),
        ("loop.keeper", "keeper"),
        ("loop.retention", "retention"),
        ("loop.pool", "pool"),
        ("loop.hosts", "hosts"),
        ("loop.host", "host"),
        ("loop.launcher", "launcher"),
        ("loop.rest", "rest"),
        ("loop.watchdog", "watchdog"),
        ("loop.resolver", "resolver"),
        ("loop.operator", "operator"),
        ("loop.signals", "signals"),
        ("loop.writer", "sqlite-writer"),
        ("loop.reader", "sqlite-reader"),
        ("loop.metrics", "metrics"),
    ] {
        println!("{point}");
        let folder = Arc::new(Folder::new());
        let (status, said) = with_panic_at(point, &folder).await;
        assert_eq!(status.code(), Some(1), "{point}: {said}");
        let told = format!("the loop '{name}' panicked");
        assert!(said.contains(&told), "{point}: {said}");
    }
}

/// The server stands still where it has just started a host's launcher, is told to stop, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_a_stop_that_comes_while_a_host_starts() {
    // The first one is there at the start. The site takes it, so that a second is started.
    let settings = [("FAILPOINTS", "loop.launcher=stop(2)")];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &settings).await;
    let api = server.api.clone();
    let asking = tokio::spawn(async move {
        api.app("jobs").await;
        api.function("jobs", "job", ONE, &json!({})).await;
        api.try_send(api.request(reqwest::Method::GET, "/healthz"))
            .await
            .is_ok()
    });
    assert!(poll::holds_soon(|| server.is_stopped()), "no second host");
    let started = server.processes();
    assert!(started.len() > 2, "{started:?}");
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    let status = server.ended().await;
    let left: Vec<&Process> = started.iter().filter(|it| it.runs()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert_eq!(status.code(), Some(0));
    asking.abort();
}
