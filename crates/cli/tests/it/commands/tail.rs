//! `invocations tail` and `function logs --follow`.

use crate::support::code::ECHO;
use crate::support::folder::Folder;
use crate::support::server::{Lines, Server};
use crate::support::soon;
use serde_json::{Value, json};
use std::sync::Arc;

const GREET: &str = "\
def main(params):
    log('greeting', level='warning')
    return {'hello': params.get('name', 'you')}
";

/// A command that already watches, and what it says.
struct Tail {
    child: tokio::process::Child,
    out: Lines,
    err: Lines,
}

impl Tail {
    async fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut command = folder.command(args);
        // Not in the server's folder, where nothing may be left when it stops.
        command
            .arg("--data-dir")
            .arg(folder.data())
            .current_dir(std::env::temp_dir());
        let mut child = command.spawn().unwrap();
        let mut err = Lines::of(child.stderr.take().unwrap());
        let out = Lines::of(child.stdout.take().unwrap());
        err.line("watching").await;
        Self { child, out, err }
    }

    async fn end(mut self) {
        self.child.start_kill().unwrap();
        soon("the tail's end", self.child.wait()).await.unwrap();
    }

    fn count(&self, text: &str) -> usize {
        let said = self.out.so_far();
        said.lines().filter(|line| line.contains(text)).count()
    }
}

async fn apps(server: &Server) {
    for app in ["hello", "other"] {
        server.api.app(app).await;
        server.api.function(app, "greet", GREET, &json!({})).await;
        server.api.function(app, "echo", ECHO, &json!({})).await;
    }
}

#[tokio::test]
async fn it_shows_runs_of_a_function_and_of_an_app() {
    let server = Server::start().await;
    apps(&server).await;
    let folder = &server.folder;
    let tail = ["invocations", "tail"];
    let mut all = Tail::start(folder, &tail).await;
    let one = [&tail[..], &["--function", "greet", "--json"]].concat();
    let mut one = Tail::start(folder, &one).await;
    let mut app = Tail::start(folder, &[&tail[..], &["--app", "other"]].concat()).await;
    let run = async |app, function, marker: &str| {
        let body = json!({"params": {"name": marker}});
        let ran = server.api.execute(app, function, &body).await.ok();
        ran["invocation"]["id"].as_i64().unwrap()
    };
    let echo = run("hello", "echo", "a").await;
    let greet = run("hello", "greet", "b").await;
    let other = run("other", "echo", "c").await;
    let last = run("other", "greet", "d").await;
    for id in [echo, greet, other, last] {
        let line = all.out.line(&format!("#{id} ")).await;
        assert!(line.contains("succeeded") && line.contains(" ms"), "{line}");
    }
    one.out.line(&format!("\"id\":{last}")).await;
    let said = one.out.so_far();
    let runs = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(
        runs.into_iter().all(|run| run["function_slug"] == "greet"),
        "{said}"
    );
    app.out.line(&format!("#{last} ")).await;
    app.out.line(&format!("#{other} ")).await;
    assert_eq!(
        app.count(&format!("#{greet} ")) + app.count(&format!("#{echo} ")),
        0
    );
    for tail in [all, one, app] {
        tail.end().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn it_survives_a_restart_without_losing_or_repeating_a_run() {
    let server = Server::start().await;
    apps(&server).await;
    let folder = Arc::clone(&server.folder);
    let mut tail = Tail::start(&folder, &["invocations", "tail"]).await;
    let mut logs = Tail::start(
        &folder,
        &["function", "logs", "greet", "-f", "--app", "hello"],
    )
    .await;
    let mut ids = Vec::new();
    let run = async |server: &Server| {
        let ran = server.api.execute("hello", "greet", &json!({})).await.ok();
        ran["invocation"]["id"].as_i64().unwrap()
    };
    for _ in 0..3 {
        ids.push(run(&server).await);
    }
    tail.out.line(&format!("#{} ", ids[2])).await;
    logs.out.line(&format!("#{} ", ids[2])).await;
    server.stop().await;
    tail.err.line("waiting for the server").await;
    // It comes back on another port, and much happens before the tail is there again.
    let server = Server::start_in(&folder, &[], &[]).await;
    for _ in 0..70 {
        ids.push(run(&server).await);
    }
    tail.err.line("the server is back").await;
    logs.err.line("the server is back").await;
    ids.push(run(&server).await);
    for tail in [&mut tail, &mut logs] {
        tail.out.line(&format!("#{} ", ids[73])).await;
        for id in &ids {
            let end = format!("#{id} greet v1 - succeeded");
            assert_eq!(tail.count(&end), 1, "run {id}:\n{}", tail.out.so_far());
        }
    }
    assert_eq!(logs.count("WARNING greeting"), ids.len());
    tail.end().await;
    logs.end().await;
    server.stop().await;
}

#[tokio::test]
async fn a_large_result_does_not_end_it() {
    let server = Server::start().await;
    server.api.app("big").await;
    let code = "def main(params):\n    return '\\x01é' * 100_000\n";
    server.api.function("big", "big", code, &json!({})).await;
    let mut tail = Tail::start(&server.folder, &["invocations", "tail"]).await;
    for _ in 0..3 {
        server.api.execute("big", "big", &json!({})).await.ok();
    }
    tail.out.line("#3 ").await;
    let logs = ["function", "logs", "big", "--app", "big"];
    assert_eq!(server.folder.run(&logs).await.ok().lines().count(), 3);
    let args = [&logs[..], &["--json"]].concat();
    let said = server.folder.run(&args).await.ok();
    let runs: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        runs[0]["task_result"]["result"]
            .as_str()
            .unwrap()
            .chars()
            .count(),
        200_000
    );
    tail.end().await;
    server.stop().await;
}

const WRONG_NAMES: &[(&[&str], &str)] = &[
    (
        &["invocations", "tail", "--function", "gret"],
        "did you mean `greet`?",
    ),
    (
        &["invocations", "tail", "--app", "helo"],
        "did you mean `hello`?",
    ),
    (
        &["invocations", "tail", "--event", "PRE_USER_CREAT"],
        "did you mean `PRE_USER_CREATE`?",
    ),
    (
        &["invocations", "tail", "--status", "suceeded"],
        "did you mean `succeeded`?",
    ),
    (
        &["invocations", "list", "--function", "gret"],
        "did you mean `greet`?",
    ),
    (
        &[
            "invocations",
            "list",
            "--function",
            "greet",
            "--app",
            "nope",
        ],
        "no app `nope`",
    ),
    (&["invocations", "list", "--event", "x"], "no event `x`"),
    (&["invocations", "list", "--status", "done"], "states are"),
    (&["invocations", "show", "999"], "no run #999"),
    (&["invocations", "replay", "999"], "no run #999"),
    (&["function", "logs", "ecko"], "did you mean `echo`?"),
    (
        &["function", "logs", "greet", "--app", "othr"],
        "did you mean `other`?",
    ),
    (
        &["function", "list", "--app", "helo"],
        "did you mean `hello`?",
    ),
    (
        &["dead-letters", "list", "--function", "gret"],
        "did you mean `greet`?",
    ),
    (
        &["dead-letters", "list", "--kind", "exeption"],
        "did you mean `exception`?",
    ),
    (
        &["dead-letters", "redrive", "--app", "helo"],
        "did you mean `hello`?",
    ),
    (
        &["events", "explain", "POST_USER_CRATE"],
        "did you mean `POST_USER_CREATE`?",
    ),
    (
        &["invocations", "list", "--site", "defalt"],
        "did you mean `default`?",
    ),
];

#[tokio::test]
async fn what_does_not_exist_is_an_error_and_no_silence() {
    let server = Server::start().await;
    apps(&server).await;
    for (args, says) in WRONG_NAMES {
        let error = server.folder.run(args).await.refused();
        assert!(error.contains(says), "{args:?}: {error}");
    }
    // A name in two apps is both for looking, and one of them for changing.
    for app in ["hello", "other"] {
        server.api.execute(app, "greet", &json!({})).await.ok();
    }
    let logs = server.folder.run(&["function", "logs", "greet"]).await.ok();
    assert_eq!(logs.matches("WARNING greeting").count(), 2, "{logs}");
    let one = server
        .folder
        .run(&["function", "logs", "greet", "--app", "other"])
        .await
        .ok();
    assert_eq!(one.matches("WARNING greeting").count(), 1, "{one}");
    let error = server
        .folder
        .run(&["function", "delete", "greet", "--yes"])
        .await
        .refused();
    assert!(
        error.contains("name one with --app: hello, other"),
        "{error}"
    );
    server.stop().await;
}
