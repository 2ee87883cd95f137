//! `tollgate function`, `events` and `invocations`.

use crate::support::folder::Folder;
use crate::support::server::Server;
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
        "--create-app",
        "--timeout",
        "5",
    ];
    let deployed = folder.run(&deploy).await.ok();
    assert!(
        deployed.starts_with("created app hello\ncreated greet-someone version 1"),
        "{deployed}"
    );
    // The same code again is no new version, other code is.
    let again = folder.run(&deploy).await.ok();
    assert!(
        again.starts_with("unchanged greet-someone version 1"),
        "{again}"
    );
    folder.write("greet_someone.py", &GREET.replace("hello", "hi"));
    let changed = folder.run(&deploy).await.ok();
    assert!(
        changed.starts_with("updated greet-someone to version 2"),
        "{changed}"
    );

    let run: Vec<_> = "function run greet-someone --app hello --params"
        .split(' ')
        .collect();
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
        "--create-app",
        "--subscribe",
        "PRE_USER_CREATE",
    ];
    let first = folder.run(&deploy).await.ok();
    assert!(
        first.ends_with("subscribed to PRE_USER_CREATE\n"),
        "{first}"
    );
    let second = folder.run(&deploy).await.ok();
    assert!(
        second.ends_with("already subscribed to PRE_USER_CREATE\n"),
        "{second}"
    );
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
    assert_eq!(counts[0], 1);
    assert!(counts[1..].iter().all(|count| **count == 0), "{counts:?}");
    let text = folder.run(&["events", "list"]).await.ok();
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with("PRE_USER_CREATE                   1 subscriber   Before"),
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
    assert!(error.contains("bad.py:2"), "{error}");
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
        .run(&[
            "function",
            "deploy",
            "raises.py",
            "--app",
            "bad",
            "--create-app",
        ])
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
    assert!(
        error.contains("there is no function `nobody` in app `bad`"),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test]
async fn without_a_server_the_commands_say_what_to_do() {
    let folder = Folder::new();
    let error = folder.run(&["events", "list"]).await.refused();
    assert!(error.contains("no server has started in"), "{error}");
    let server = Server::start().await;
    let folder = std::sync::Arc::clone(&server.folder);
    let url = server.api.url.replace("http://", "https://");
    let elsewhere = [("TOLLGATE_API_KEY", "tg_x"), ("TOLLGATE_URL", &*url)];
    let said = folder.run_with(&["events", "list"], &elsewhere).await;
    let error = said.refused();
    assert!(
        error.contains("write http:// instead of https://"),
        "{error}"
    );
    assert!(!error.contains("InvalidContentType"), "{error}");
    server.stop().await;
    let error = folder.run(&["events", "list"]).await.refused();
    assert!(error.contains("does not answer"), "{error}");
}
