//! Functions that misbehave: each is one failed run, and nobody else notices.

use crate::support::code::{AGREE, BLOCK, ECHO, UNTIL_USER};
use crate::support::folder::Folder;
use crate::support::poll;
use crate::support::server::Server;
use crate::support::watch::Watch;
use serde_json::{Value, json};
use std::sync::Arc;

const RAISES: &str = "\
def helper():
    raise ValueError('no luck')

def main(params):
    log('about to fail')
    helper()
";

const NOT_JSON: &str = "def main(params):\n    return object()\n";

const EXITS: &str = "\
import os

def main(params):
    print('last words')
    os._exit(3)
";

const DAEMON: &str = "\
import os, subprocess, threading

def main(params):
    for start in (os.fork, lambda: subprocess.run(['/bin/true'])):
        try:
            if start() == 0:
                os.setsid()
                threading.Event().wait()
            print('it runs')
        except PermissionError:
            print('refused')
    threading.Event().wait()
";

const PRINTS: &str = "\
def main(params):
    for _ in range(10 * 1024):
        print('x' * 1023)
";

const APP: &str = "bad";
/// What stays of hosts: for the site and for none yet, a launcher, its zygote and a spare worker.
const STANDING: usize = 6;

const LEAVES_FILES: &str = "\
import tempfile

def main(params):
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b'x' * (8 << 20))
    return {'success': True}
";

/// A server whose idle interpreters end at once, so that what is left is left behind.
async fn server() -> Server {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[("TOLLGATE_PYTHON__IDLE_SECONDS", "0.2")]).await;
    server.api.app(APP).await;
    server
}

/// Only the standing processes are there.
#[track_caller]
fn nothing_was_left_behind(server: &Server) {
    let processes = || server.processes();
    let quiet = poll::holds_soon(|| processes().len() == STANDING);
    assert!(quiet, "left behind: {:?}", processes());
}

/// Runs bad code while a neighbour's run is under way, and gives the bad run's record.
async fn run_beside_a_neighbour(name: &str, code: &str, options: Value) -> Value {
    let server = server().await;
    let api = &server.api;
    let reads = json!({"permissions": ["users.read"]});
    api.function(APP, "neighbour", UNTIL_USER, &reads).await;
    api.function(APP, "echo", ECHO, &json!({})).await;
    api.function(APP, name, code, &options).await;
    let mut watch = Watch::open(api).await;
    let neighbour = api.queue(APP, "neighbour").await;
    watch.state(neighbour, "running").await;

    let answer = api.execute(APP, name, &json!({})).await;
    let message = answer.refused(400, "FUNCTION_FAILED").to_owned();
    let run = answer.body["data"]["invocation"].clone();
    assert_eq!(run["status"], "FAILURE", "{run}");
    assert_eq!(run["has_error"], true, "{run}");
    assert!(
        message.contains(run["error"]["message"].as_str().unwrap()),
        "{message}: {run}"
    );
    let [listed] = &api.runs_of(name).await[..] else {
        panic!("not one run of {name}")
    };
    assert_eq!(listed["state"], run["state"], "{listed}");
    // Each answer is complete: what is read later is the same.
    assert_eq!(
        api.invocation(run["id"].as_i64().unwrap()).await["logs"],
        run["logs"]
    );

    let echoed = api
        .execute(APP, "echo", &json!({"params": {"still": "here"}}))
        .await
        .ok();
    assert_eq!(echoed["data"], json!({"still": "here"}));
    api.create_user("go").await.ok();
    assert_eq!(watch.ended(neighbour).await["state"], "succeeded");
    nothing_was_left_behind(&server);
    server.stop().await;
    run
}

fn logs(run: &Value) -> Vec<&str> {
    let lines = run["logs"].as_array().unwrap();
    lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn one_that_raises_shows_its_own_lines() {
    let run = run_beside_a_neighbour("raises", RAISES, json!({})).await;
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("failed"), &json!("exception"))
    );
    assert!(
        run["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no luck"),
        "{run}"
    );
    let traceback = run["error"]["traceback"].as_str().unwrap();
    assert!(traceback.contains("line 6, in main"), "{traceback}");
    assert!(traceback.contains("line 2, in helper"), "{traceback}");
    assert!(
        traceback.contains("raise ValueError('no luck')"),
        "{traceback}"
    );
    // Nothing of the host's own.
    assert!(!traceback.contains("tollgate_"), "{traceback}");
    assert_eq!(logs(&run), ["about to fail"]);
}

#[tokio::test]
async fn one_that_returns_no_json_is_told_so() {
    let run = run_beside_a_neighbour("not-json", NOT_JSON, json!({})).await;
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("failed"), &json!("not_json"))
    );
    assert!(
        run["error"]["message"]
            .as_str()
            .unwrap()
            .contains("type object"),
        "{run}"
    );
}

#[tokio::test]
async fn one_that_ends_its_process_keeps_its_logs() {
    let run = run_beside_a_neighbour("exits", EXITS, json!({})).await;
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("failed"), &json!("crashed"))
    );
    assert!(
        run["error"]["message"].as_str().unwrap().contains('3'),
        "{run}"
    );
    assert_eq!(logs(&run), ["last words"]);
}

#[tokio::test]
async fn one_that_runs_too_long_is_stopped() {
    let run = run_beside_a_neighbour("blocks", BLOCK, json!({"timeout_seconds": 0.3})).await;
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("timed_out"), &json!("timeout"))
    );
    assert!(
        run["error"]["message"].as_str().unwrap().contains("300ms"),
        "{run}"
    );
    assert!(run["duration_ms"].as_f64().unwrap() >= 290.0, "{run}");
}

#[tokio::test]
async fn a_daemon_cannot_be_started() {
    let run = run_beside_a_neighbour("daemon", DAEMON, json!({"timeout_seconds": 1.0})).await;
    assert_eq!(run["error"]["kind"], "timeout", "{run}");
    assert_eq!(logs(&run), ["refused", "refused"]);
}

#[tokio::test]
async fn one_that_prints_ten_megabytes_reaches_a_limit() {
    let run = run_beside_a_neighbour("prints", PRINTS, json!({})).await;
    assert_eq!(run["error"]["kind"], "limit", "{run}");
    assert!(run["error"]["message"].as_str().unwrap().contains("1 MiB"));
    let kept: usize = logs(&run).iter().map(|line| line.len()).sum();
    assert!((900_000..=1_100_000).contains(&kept), "{kept}");
}

/// Its worker is kept, and used to be full for ever after the eighth sign-up.
#[tokio::test]
async fn one_that_leaves_files_behind_closes_no_door() {
    let server = server().await;
    let id = server
        .api
        .function(APP, "leaves-files", LEAVES_FILES, &json!({}))
        .await;
    server.api.subscribe("PRE_USER_CREATE", id).await;
    for number in 0..12 {
        server.api.create_user(&format!("user{number}")).await.ok();
    }
    server.stop().await;
}

#[tokio::test]
async fn one_that_does_not_load_is_not_created_and_says_where() {
    let server = server().await;
    let path = "/api/apps/bad/functions/";
    for (code, message, line) in [
        (
            "import json\nimport not_installed_here\ndef main(params): pass",
            "No module named 'not_installed_here'",
            json!(2),
        ),
        (
            "def main(params): pass\nraise RuntimeError('not today')",
            "not today",
            json!(2),
        ),
        (
            "def main(a, b, c, d): pass",
            "needs 4 positional parameters",
            json!(1),
        ),
        (
            "import functools\nmain = functools.partial(print, end='')\nmain = lambda: None",
            "no positional parameter",
            json!(null),
        ),
        (
            "import urllib.request\nurllib.request.urlopen('http://example.com')\ndef main(p): pass",
            "set its `network` to \"egress\"",
            json!(2),
        ),
    ] {
        let body = json!({"name": "loads", "code": code});
        let answer = server.api.post(path, &body).await;
        let told = answer.refused(400, "VALIDATION_ERROR");
        assert!(told.contains(message), "{told}");
        let fault = &answer.body["errors"][0];
        assert_eq!(
            (&fault["field"], &fault["line"]),
            (&json!("code"), &line),
            "{fault}"
        );
        if told.contains("does not load") && line == 2 {
            let traceback = fault["traceback"].as_str().unwrap();
            assert!(traceback.contains("line 2, in <module>"), "{traceback}");
        }
        let listed = server.api.get(&format!("{path}loads/")).await;
        listed.refused(404, "NOT_FOUND");
    }
    let fine = json!({"name": "loads", "code": "def main(params): return params['n']"});
    server.api.post(path, &fine).await.ok();
    let ran = server
        .api
        .execute(APP, "loads", &json!({"params": {"n": 7}}))
        .await
        .ok();
    assert_eq!(ran["data"], 7);
    server.stop().await;
}

#[tokio::test]
async fn one_that_is_deleted_while_it_runs_ends() {
    let server = server().await;
    server.api.function(APP, "blocks", BLOCK, &json!({})).await;
    server.api.function(APP, "echo", ECHO, &json!({})).await;
    let mut watch = Watch::open(&server.api).await;
    let id = server.api.queue(APP, "blocks").await;
    watch.state(id, "running").await;
    server
        .api
        .delete("/api/apps/bad/functions/blocks/")
        .await
        .ok();
    let run = watch.ended(id).await;
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("failed"), &json!("deleted"))
    );
    assert_eq!(run["attempt"], 1, "{run}");
    server
        .api
        .execute(APP, "blocks", &json!({}))
        .await
        .refused(404, "NOT_FOUND");
    server.api.execute(APP, "echo", &json!({})).await.ok();
    nothing_was_left_behind(&server);
    server.stop().await;
}

#[tokio::test]
async fn a_broken_check_refuses_and_saves_nothing() {
    let server = server().await;
    let agrees = server.api.function(APP, "agrees", AGREE, &json!({})).await;
    server.api.subscribe("PRE_USER_CREATE", agrees).await;
    let short = json!({"timeout_seconds": 0.3});
    for (name, code, options, kind) in [
        ("raises", RAISES, json!({}), "exception"),
        ("not-json", NOT_JSON, json!({}), "not_json"),
        ("exits", EXITS, json!({}), "crashed"),
        ("blocks", BLOCK, short, "timeout"),
        ("prints", PRINTS, json!({}), "limit"),
    ] {
        let id = server.api.function(APP, name, code, &options).await;
        server.api.subscribe("PRE_USER_CREATE", id).await;
        let answer = server.api.create_user("ann").await;
        let message = answer.refused(400, "PRE_EVENT_FAILED");
        assert!(
            message.contains("PRE_USER_CREATE") && message.contains(name),
            "{message}"
        );
        assert_eq!(answer.body["errors"][0]["function_id"], id, "{answer:?}");
        assert_eq!(answer.body["errors"][0]["kind"], kind, "{answer:?}");
        server
            .api
            .get("/api/users/ann/")
            .await
            .refused(404, "NOT_FOUND");
        server
            .api
            .delete(&format!("/api/apps/bad/functions/{name}/"))
            .await
            .ok();
    }
    server.api.create_user("ann").await.ok();
    // A PRE function's worker is kept; this is the last one.
    let agrees = "/api/apps/bad/functions/agrees/";
    server.api.delete(agrees).await.ok();
    nothing_was_left_behind(&server);
    server.stop().await;
}
