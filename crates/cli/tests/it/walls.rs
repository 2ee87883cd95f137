//! The walls around functions of a real server: its own files, address and processes.

use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::json;
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
