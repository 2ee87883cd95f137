//! The walls around functions of a real server: its own files, address and processes.

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::{skipped, soon};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Tries what is worth most to whoever writes a function: keys, database, the server itself.
const THIEF: &str = "\
import os, signal, socket

def read(path):
    with open(path, 'rb') as file:
        return file.read(100)

def ask(port):
    with socket.create_connection(('127.0.0.1', port)) as api:
        api.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n')
        return api.recv(100)

def main(params):
    ways = {path: lambda path=path: read(path) for path in params['files']}
    ways['list'] = lambda: os.listdir(params['folder'])
    ways['api'] = lambda: ask(params['port'])
    ways['server'] = lambda: os.kill(params['pid'], signal.SIGKILL)
    ways['environment'] = lambda: read(f\"/proc/{params['pid']}/environ\")
    done = {}
    for name, way in ways.items():
        try:
            done[name] = repr(way())
        except OSError:
            pass
    return done
";

#[tokio::test]
async fn a_function_gets_nothing_of_the_servers() {
    let folder = Arc::new(Folder::new());
    let secret = [("TOLLGATE_ADMIN_PASSWORD", "canary-b71f-canary")];
    let server = Server::start_in(&folder, &[], &secret).await;
    server.api.app("thief").await;
    server
        .api
        .function("thief", "thief", THIEF, &json!({}))
        .await;
    let data = folder.data();
    let files: Vec<_> = data
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    for name in ["tollgate.db", "jwt.key", "cli.json"] {
        assert!(files.contains(&data.join(name)), "{files:?}");
    }
    let port: u16 = server.api.url.rsplit(':').next().unwrap().parse().unwrap();
    let params = json!({
        "files": files,
        "folder": data,
        "port": port,
        "pid": server.pid(),
    });
    let answer = server
        .api
        .execute("thief", "thief", &json!({"params": params}))
        .await
        .ok();
    assert_eq!(answer["data"], json!({}), "{answer}");
    server.stop().await;
}

/// The program on a kernel without Landlock, which `strace` plays.
async fn without_landlock(folder: &Folder, args: &[&str]) -> Option<(Option<i32>, String)> {
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() {
        skipped("strace is not installed");
        return None;
    }
    let call = "landlock_create_ruleset";
    let (trace, inject) = (
        format!("trace={call}"),
        format!("inject={call}:error=ENOSYS"),
    );
    let own = folder.command(args);
    let own = own.as_std();
    let mut command = tokio::process::Command::new(strace);
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
        .arg("--")
        .arg(own.get_program())
        .args(own.get_args())
        .current_dir(folder.path())
        .kill_on_drop(true);
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = soon("the end", command.output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.code(), String::from_utf8(said).unwrap()))
}

#[tokio::test]
async fn where_the_walls_cannot_stand_nothing_runs_and_the_doctor_knows_why() {
    let folder = Folder::new();
    let file = folder.write("one.py", "def main(params):\n    return 'it ran'\n");
    let run = ["function", "run", file.to_str().unwrap()];
    let Some((code, said)) = without_landlock(&folder, &run).await else {
        return;
    };
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("it ran"), "{said}");
    for word in ["Landlock", "`tollgate doctor`"] {
        assert!(said.contains(word), "{said}");
    }
    let Some((code, said)) = without_landlock(&folder, &["doctor"]).await else {
        return;
    };
    assert_eq!(code, Some(1), "{said}");
    let line = said.lines().find(|line| line.contains("isolation"));
    let line = line.unwrap();
    assert!(
        line.starts_with("FAIL") && line.contains("Landlock"),
        "{line}"
    );
}
