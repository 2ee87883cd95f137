//! A folder with a function, as its author has it: run here, deployed, run there.

use crate::support::server::Server;
use serde_json::{Value, json};
use std::sync::Arc;

const MAIN: &str = "\
from pathlib import Path
from texts.greeting import word

TEMPLATE = (Path(__file__).parent / 'mail.txt').read_text()

def main(params):
    return TEMPLATE.format(word=word(), name=params.get('name', 'you'))

def half(params):
    return divide(params['of'])

def divide(of):
    return 1 // of
";

fn write(server: &Server) {
    let folder = &server.folder;
    std::fs::create_dir_all(folder.path().join("welcome/texts")).unwrap();
    folder.write("welcome/main.py", MAIN);
    folder.write("welcome/texts/greeting.py", "def word(): return 'Hello'\n");
    folder.write("welcome/mail.txt", "{word}, {name}!");
    folder.write("welcome/.env", "NOT=SENT");
}

async fn said(server: &Server, args: &[&str]) -> String {
    server.folder.run(args).await.ok()
}

#[tokio::test]
async fn a_folder_runs_here_is_deployed_and_runs_there() {
    let server = Server::start().await;
    write(&server);
    let run = [
        "function",
        "run",
        "welcome",
        "--params",
        r#"{"name": "Ada"}"#,
    ];
    assert_eq!(said(&server, &run).await.trim(), r#""Hello, Ada!""#);
    let deploy = [
        "function",
        "deploy",
        "welcome",
        "--app",
        "mail",
        "--create-app",
    ];
    let made = said(&server, &deploy).await;
    assert!(made.contains("created welcome version 1 "), "{made}");
    let again = said(&server, &deploy).await;
    assert!(again.starts_with("unchanged welcome version 1 "), "{again}");
    let call = async || {
        let body = json!({"params": {"name": "Ada"}});
        server.api.execute("mail", "welcome", &body).await.ok()["data"].clone()
    };
    assert_eq!(call().await, "Hello, Ada!");
    // The folder is there too.
    let deployed = [&run[..], &["--app", "mail"]].concat();
    assert!(said(&server, &deployed).await.contains("Hello, Ada!"));

    server
        .folder
        .write("welcome/mail.txt", "{word} again, {name}!");
    let updated = said(&server, &deploy).await;
    assert!(
        updated.starts_with("updated welcome to version 2 "),
        "{updated}"
    );
    assert_eq!(call().await, "Hello again, Ada!");
    let shown = server
        .api
        .get("/api/apps/mail/functions/welcome/")
        .await
        .ok();
    assert_eq!((&shown["files"], &shown["code"]), (&json!(3), &json!(MAIN)));

    // The files come from the store.
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    let server = Server::start_in(&folder, &[], &[]).await;
    let body = json!({"params": {"name": "Ada"}});
    let answer = server.api.execute("mail", "welcome", &body).await.ok();
    assert_eq!(answer["data"], "Hello again, Ada!");
    server.stop().await;
}

#[tokio::test]
async fn another_entry_point_is_named_once() {
    let server = Server::start().await;
    write(&server);
    let args = [
        "function",
        "run",
        "welcome",
        "--entrypoint",
        "main:half",
        "--params",
        r#"{"of": 1}"#,
    ];
    assert_eq!(said(&server, &args).await.trim(), "1");
    let deploy = [
        "function",
        "deploy",
        "welcome",
        "--app",
        "mail",
        "--create-app",
        "--slug",
        "half",
        "--entrypoint",
        "main:half",
    ];
    said(&server, &deploy).await;
    let zero = json!({"params": {"of": 0}});
    let failed = server.api.execute("mail", "half", &zero).await;
    assert_eq!(failed.status, 400);
    let trace = &failed.body["data"]["invocation"]["error"]["traceback"];
    let trace = trace.as_str().unwrap_or_default();
    for line in [
        r#"File "main.py", line 10, in half"#,
        r#"File "main.py", line 13, in divide"#,
    ] {
        assert!(trace.contains(line), "{trace}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_in_a_folder_names_its_file() {
    let server = Server::start().await;
    write(&server);
    server.api.app("mail").await;
    let deploy = ["function", "deploy", "welcome", "--app", "mail"];
    server
        .folder
        .write("welcome/main.py", "def main(params)\n    pass\n");
    let refused = server.folder.run(&deploy).await.refused();
    assert!(refused.contains("welcome/main.py:1"), "{refused}");
    server.folder.write("welcome/main.py", MAIN);
    server
        .folder
        .write("welcome/texts/greeting.py", "import absent\n");
    let refused = server.folder.run(&deploy).await.refused();
    assert!(refused.contains("No module named 'absent'"), "{refused}");
    std::fs::remove_file(server.folder.path().join("welcome/main.py")).unwrap();
    let refused = server.folder.run(&deploy).await.refused();
    assert!(refused.contains("no main.py"), "{refused}");
    let functions = server.api.get("/api/apps/mail/functions/").await.ok();
    assert_eq!(functions["total"], Value::from(0));
    server.stop().await;
}
