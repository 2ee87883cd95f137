//! E11 to E17 for Node: files, sockets, processes and others' workers are out of reach, by whatever way.

use super::{body, once};
use crate::egress::{egress, let_out};
use crate::support::{
    Python, node, node_function, node_function_with, node_interpreter, node_with, skipped, value,
};
use crate::walls::{open_folder, refusing, standing};
use serde_json::json;
use std::process::Command;
use tollgate_core::confinement::Wall;
use tollgate_runtimes::{Language, ProcessConfig};

const CANARY: &str = "canary-3f9c2a";
const ATTACK: &str = include_str!("attack.mjs");
const NATIVE: &str = include_str!("native.c");

/// A runtime with these walls; none, loudly, where the kernel lacks one.
async fn behind(walls: &[Wall], change: impl FnOnce(&mut ProcessConfig)) -> Option<Python> {
    standing(node_with(change)?, Language::Node, walls).await
}

/// Attacks what belongs to others, and expects each way to be refused by the kernel, or by words before it.
async fn nothing_is_reached(node: &Python) {
    let folder = open_folder("/var/tmp");
    let secret = folder.path().join("tollgate.db");
    std::fs::write(&secret, CANARY).unwrap();
    let leaked = std::fs::File::open(&secret).unwrap();
    let leaked = rustix::io::dup(&leaked).unwrap();
    let keeper = "import fs from 'node:fs';\nlet n = 0;\nexport default () => { fs.writeFileSync('secret', 'canary-3f9c2a'); return [process.pid, process.cwd(), ++n]; };";
    let keeper = node_function(keeper);
    let kept = value(&node.call(&keeper, json!({})).await);
    let params = json!({
        "secret": secret,
        "server": std::process::id(),
        "sibling": kept[0],
        "theirs": kept[1],
    });
    let options = egress();
    let report = node
        .call(&node_function_with(ATTACK, options), params)
        .await;
    let seen = value(&report);
    let text = format!("{seen} {:?}", report.logs);
    assert!(!text.contains(CANARY) && !text.contains("root:"), "{text}");
    let ways = seen.as_object().unwrap();
    assert!(ways.len() > 40, "{seen}");
    for (way, outcome) in ways {
        let refused = outcome
            .as_str()
            .is_some_and(|text| text.starts_with("refused"));
        assert!(refused, "{way}: {outcome}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), CANARY);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    // The other one lives on.
    let after = value(&node.call(&keeper, json!({})).await);
    assert_eq!((&after[0], &after[2]), (&kept[0], &json!(2)));
    drop(leaked);
}

#[tokio::test]
async fn nothing_of_others_is_reached() {
    let made = behind(&[], |config| let_out(config, true));
    let Some(node) = made.await else { return };
    nothing_is_reached(&node).await;
}

#[tokio::test]
async fn nor_where_there_are_no_namespaces() {
    let Some(launcher) = refusing(&["unshare:error=EPERM"]) else {
        return;
    };
    let made = behind(&[], |config| {
        config.launcher = launcher;
        let_out(config, true);
    });
    let Some(node) = made.await else { return };
    nothing_is_reached(&node).await;
    // Its folder lies on disk, and is gone with it.
    let probe = node_function("export default () => process.cwd()");
    let home = value(&node.call(&probe, json!({})).await);
    let home = std::path::PathBuf::from(home.as_str().unwrap());
    assert!(home.exists());
    node.runtime.shutdown().await;
    assert!(
        !home.exists() && !home.parent().unwrap().exists(),
        "{}",
        home.display()
    );
}

/// What JavaScript cannot do, code of the machine's own language may try: it is run in the worker itself.
#[tokio::test]
async fn native_code_starts_no_program_either() {
    let folder = open_folder("/var/tmp");
    let source = folder.path().join("native.c");
    let library = folder.path().join("native.node");
    std::fs::write(&source, NATIVE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        skipped("no C compiler");
        return;
    }
    let Some(program) = node_interpreter().map(|it| it.program) else {
        return;
    };
    let made = behind(&[], |config| {
        config
            .node
            .as_mut()
            .unwrap()
            .library
            .push(folder.path().to_owned());
    });
    let Some(node) = made.await else { return };
    let code = format!(
        "import fs from 'node:fs';\nexport default () => {{ try {{ process.dlopen({{exports: {{}}}}, '{0}'); }} catch {{}} \
         fs.copyFileSync('{0}', 'own.node'); try {{ process.dlopen({{exports: {{}}}}, process.cwd() + '/own.node'); }} \
         catch (error) {{ console.log(error.message.includes('failed to map') ? 'own: refused' : `own: ${{error.message}}`); }} }}",
        library.display()
    );
    let report = once(&node, &code).await;
    value(&report);
    let said: Vec<_> = report
        .logs
        .iter()
        .map(|line| line.message.as_str())
        .collect();
    assert!(said.len() > 10, "{said:?}");
    for line in &said {
        assert!(
            line.ends_with("refused"),
            "{line}, {said:?}, {}",
            program.display()
        );
    }
}

#[tokio::test]
async fn a_worker_holds_no_rights_and_sees_nothing_of_the_server() {
    let made = behind(&[Wall::Root], |_| {});
    let Some(node) = made.await else { return };
    let probe = node_function("export default () => process.pid");
    let pid = value(&node.call(&probe, json!({})).await);
    let worker = node.process(pid.as_i64().unwrap());
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert!(
        !field("Uid:").split_whitespace().any(|user| user == "0"),
        "{status}"
    );
    let there = "const fs = await import('node:fs');
        return ['/etc/passwd', '/proc/self', '/sys', '/var', '/home', '/root'].filter((path) => fs.existsSync(path));";
    assert_eq!(value(&body(&node, there).await), json!([]));
}

#[tokio::test]
async fn what_functions_commonly_do_works() {
    let Some(node) = node() else { return };
    let common = include_str!("use_common.mjs");
    assert_eq!(value(&once(&node, common).await), "all done");
}
