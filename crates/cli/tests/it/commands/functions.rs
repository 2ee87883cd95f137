//! `tollgate function`, `events` and `invocations`.

use crate::support::folder::Folder;
use crate::support::server::{Lines, Server};
use serde_json::json;

const GREET: &str = "\
def main(params):
    log('greeting', level='warning')
    return {'hello': params.get('name', 'you')}
";
const DENY: &str = "def main(params):\n    return {'success': False, 'error': 'not today'}\n";
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/functions/validate_user_data.py"
);

#[tokio::test]
async fn a_deployed_function_runs_and_logs() {
    let server = Server::start().await;
    let folder = &server.folder;
    folder.write("greet_someone.py", GREET);
    let deploy = [
        "function",
        "deploy",
        "greet_someone.py",
        "--app",
        "hello",
        "--timeout",
        "5",
    ];
    let deployed = folder.run(&deploy).await.ok();
    assert!(
        deployed.starts_with("deployed greet-someone version 1"),
        "{deployed}"
    );
    // The same code again is no new version, other code is.
    assert!(folder.run(&deploy).await.ok().contains("version 1"));
    folder.write("greet_someone.py", &GREET.replace("hello", "hi"));
    assert!(folder.run(&deploy).await.ok().contains("version 2"));

    let run = [
        "function",
        "run",
        "greet-someone",
        "--app",
        "hello",
        "--params",
    ];
    let said = folder
        .run(&[&run[..], &[r#"{"name": "Ann"}"#]].concat())
        .await
        .ok();
    assert!(
        said.contains("WARNING greeting") && said.contains(r#""hi": "Ann""#),
        "{said}"
    );
    folder.write("params.json", r#"{"name": "Bob"}"#);
    let json = folder
        .run(&[&run[..], &["@params.json", "--json"]].concat())
        .await
        .json();
    assert_eq!(json["data"], json!({"hi": "Bob"}));
    assert_eq!(json["invocation"]["version"], 2);
    let error = folder.run(&[&run[..], &["[1]"]].concat()).await.refused();
    assert!(error.contains("--params must be a JSON object"), "{error}");

    let logs = folder
        .run(&["function", "logs", "greet-someone", "--limit", "1"])
        .await
        .ok();
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines.len(), 2, "{logs}");
    assert!(
        lines[0].contains("greet-someone v2") && lines[0].contains("succeeded"),
        "{logs}"
    );
    assert!(lines[1].ends_with("WARNING greeting"), "{logs}");
    server.stop().await;
}

#[tokio::test]
async fn deploying_can_subscribe() {
    let server = Server::start().await;
    let folder = &server.folder;
    folder.write("deny.py", DENY);
    let deploy = [
        "function",
        "deploy",
        "deny.py",
        "--app",
        "gate",
        "--subscribe",
        "PRE_USER_CREATE",
    ];
    for _ in 0..2 {
        folder.run(&deploy).await.ok();
    }
    let refused = server.api.create_user("ann").await;
    assert!(
        refused
            .refused(400, "PRE_EVENT_DENIED")
            .contains("not today")
    );
    let listed = folder.run(&["events", "list", "--json"]).await.json();
    let counts: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["total_subscribers"])
        .collect();
    assert_eq!(counts, [1, 0, 0, 0, 0, 0]);
    let text = folder.run(&["events", "list"]).await.ok();
    assert!(
        text.lines()
            .next()
            .unwrap()
            .starts_with("PRE_USER_CREATE    1 subscribers"),
        "{text}"
    );

    let explain = ["events", "explain", "PRE_USER_CREATE"];
    let text = folder.run(&explain).await.ok();
    assert!(text.starts_with("  1.  gate/"), "{text}");
    folder.write("params.json", r#"{"email": "x@y.example"}"#);
    let args = [&explain[..], &["--params", "params.json", "--json"]].concat();
    let explained = folder.run(&args).await.json();
    assert_eq!(explained["would_run"], 1);
    let args = [&explain[..], &["--params", "nothing.json"]].concat();
    let error = folder.run(&args).await.refused();
    assert!(error.contains("nothing.json"), "{error}");

    let args = [&deploy[..5], &["--subscribe", "PRE_USER_CRATE"]].concat();
    let error = folder.run(&args).await.refused();
    assert!(error.contains("PRE_USER_CRATE"), "{error}");
    folder.write("bad.py", "def main(params):\n    return (\n");
    let error = folder
        .run(&["function", "deploy", "bad.py", "--app", "gate"])
        .await
        .refused();
    assert!(error.contains("line 2"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_file_runs_without_a_server() {
    let folder = Folder::new();
    let run = ["function", "run", EXAMPLE, "--event", "PRE_USER_CREATE"];
    let said = folder.run(&run).await.ok();
    assert!(said.contains("INFO    checking "), "{said}");
    assert!(said.contains(r#""success": true"#), "{said}");
    let params = r#"{"username": "eve", "email": "eve@blocked.example"}"#;
    let json = folder
        .run(&[&run[..], &["--params", params, "--json"]].concat())
        .await
        .json();
    assert_eq!(json["result"]["success"], false, "{json}");
    assert_eq!(json["error"], serde_json::Value::Null);

    folder.write(
        "raises.py",
        "def main(params):\n    raise ValueError('no luck')\n",
    );
    let said = folder.run(&["function", "run", "raises.py"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert!(
        said.stderr.contains("line 2, in main") && said.stderr.contains("no luck"),
        "{said:?}"
    );
    assert!(!folder.data().exists(), "running a file made a data folder");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_failed_run_on_the_server_is_a_failed_command() {
    let server = Server::start().await;
    let folder = &server.folder;
    folder.write(
        "raises.py",
        "def main(params):\n    print('soon')\n    raise ValueError('no luck')\n",
    );
    folder
        .run(&["function", "deploy", "raises.py", "--app", "bad"])
        .await
        .ok();
    let said = folder
        .run(&["function", "run", "raises", "--app", "bad"])
        .await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("soon"), "{said:?}");
    assert!(said.stderr.contains("no luck"), "{said:?}");
    let error = folder
        .run(&["function", "run", "nobody", "--app", "bad"])
        .await
        .refused();
    assert!(error.contains("404"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn the_tail_shows_a_run_with_its_name() {
    let server = Server::start().await;
    let folder = &server.folder;
    for name in ["greet.py", "other.py"] {
        folder.write(name, GREET);
        folder
            .run(&["function", "deploy", name, "--app", "hello"])
            .await
            .ok();
    }
    let mut all = tail(&server, &[]).await;
    let mut one = tail(&server, &["--function", "greet", "--json"]).await;
    for function in ["other", "greet"] {
        server.api.execute("hello", function, &json!({})).await.ok();
    }
    let line = all.1.line("greet v1").await;
    assert!(line.contains("succeeded") && line.contains(" ms"), "{line}");
    all.1.line("other v1").await;
    let line = one.1.line("succeeded").await;
    let invocation: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(invocation["function_slug"], "greet");
    assert!(!one.1.so_far().contains("\"other\""), "{}", one.1.so_far());
    server.stop().await;
    // The end of the server is the end of the tail.
    for (mut child, _) in [all, one] {
        let status = crate::support::soon("the tail's end", child.wait())
            .await
            .unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

/// A tail that already watches, and what it prints.
async fn tail(server: &Server, args: &[&str]) -> (tokio::process::Child, Lines) {
    let args = [&["invocations", "tail"], args].concat();
    let mut child = server.folder.command(&args).spawn().unwrap();
    let mut stderr = Lines::of(child.stderr.take().unwrap());
    stderr.line("watching").await;
    let stdout = Lines::of(child.stdout.take().unwrap());
    (child, stdout)
}

#[tokio::test]
async fn without_a_server_the_commands_say_what_to_do() {
    let folder = Folder::new();
    let error = folder.run(&["events", "list"]).await.refused();
    assert!(error.contains("no server has started in"), "{error}");
    let server = Server::start().await;
    let folder = std::sync::Arc::clone(&server.folder);
    server.stop().await;
    let error = folder.run(&["events", "list"]).await.refused();
    assert!(error.contains("does not answer"), "{error}");
}
