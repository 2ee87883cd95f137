//! The walls around functions of a real server: its own files, address and processes.

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::world::World;
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

/// The walls that this machine lacks, from `/readyz`: the name, and how each is told of.
async fn missing(server: &Server) -> Vec<(String, String)> {
    // The host is there once a function has been checked.
    let code = "def main(params): return 1\n";
    server.api.app("any").await;
    server.api.function("any", "one", code, &json!({})).await;
    let ready = server.api.get("/readyz").await.ok();
    let confinement = &ready["runtimes"][0]["confinement"];
    let missing = confinement["missing"].as_array().unwrap().iter();
    let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
    let told = missing.map(|it| {
        let (wall, meaning) = (text(&it["wall"]), text(&it["meaning"]));
        let reason = text(&it["reason"]);
        assert!(!format!("{meaning}{reason}").contains('\n'), "{it}");
        let line = format!("no wall {wall}: {meaning} ({reason})");
        (wall, line)
    });
    told.collect()
}

/// `/readyz`, the start log and the doctor say the same, in one line each.
#[tokio::test]
async fn a_missing_wall_is_told_in_one_line_with_what_it_means() {
    let folder = Arc::new(Folder::new());
    let Some(server) = World::Refused.server_in(&folder, &[]).await else {
        return;
    };
    let missing = missing(&server).await;
    for name in ["root", "processes", "network", "scratch"] {
        assert!(missing.iter().any(|(wall, _)| wall == name), "{missing:?}");
    }
    let log = server.stderr.so_far();
    let doctor = World::Refused.run(&folder, &["doctor"]).await.unwrap().ok();
    for (wall, line) in &missing {
        let told: Vec<_> = log.lines().filter(|it| it.contains(line)).collect();
        let [told] = told[..] else {
            panic!("{wall}: {told:?} in\n{log}");
        };
        assert!(told.contains("WARN"), "{told}");
        let told = doctor.lines().filter(|it| it.trim() == line).count();
        assert_eq!(told, 1, "{wall} in\n{doctor}");
    }
    assert!(!log.contains("several sites"), "{log}");
    server.stop().await;
}

/// Whoever makes a second site is told, and so is the log: then, and at each start.
#[tokio::test]
async fn a_second_site_with_a_wall_missing_between_them_is_warned_of() {
    let folder = Arc::new(Folder::new());
    let Some(mut server) = World::Refused.server_in(&folder, &[]).await else {
        return;
    };
    let create = ["site", "create", "acme", "--domain", "acme.test"];
    let created = World::Refused.run(&folder, &create).await.unwrap();
    let warning = "several sites run functions, and walls between them are missing: ";
    for said in [&created.stderr, &server.stderr.line(warning).await] {
        assert!(said.contains(warning), "{said}");
        for wall in ["no wall processes: ", "no wall scratch: "] {
            assert!(said.contains(wall), "{said}");
        }
        // Between functions and the machine, not between sites.
        assert!(!said.contains("no wall root"), "{said}");
    }
    server.stop().await;
    let Some(mut server) = World::Refused.server_in(&folder, &[]).await else {
        return;
    };
    let line = server.stderr.line(warning).await;
    assert!(line.contains("WARN"), "{line}");
    server.stop().await;
}
