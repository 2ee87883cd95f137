//! Between sites: nothing is shared that one could learn about another, and each host's end is its own.

use super::without_namespaces;
use crate::poll::eventually;
use crate::processes::Process;
use crate::support::{Python, failure, function, function_of, python, python_with, value};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

/// What a process inherits from the one that it was forked from: where its code lies, and how it hashes.
const INHERITED: &str = "def main(p): return [id(None), hash('tollgate')]";

#[tokio::test]
async fn no_two_sites_share_an_address_layout_or_a_hash_seed() {
    let Some(python) = python() else { return };
    let mut seen: Vec<Value> = Vec::new();
    for site in [1, 2, 3] {
        let first = value(&python.call(&function_of(site, INHERITED), json!({})).await);
        let again = value(&python.call(&function_of(site, INHERITED), json!({})).await);
        assert_eq!(first, again, "one site has one host");
        let apart = |other: &Value| other[0] != first[0] && other[1] != first[1];
        assert!(seen.iter().all(apart), "{seen:?} {first}");
        seen.push(first);
    }
}

#[tokio::test]
async fn a_code_check_runs_in_its_own_sites_host() {
    let Some(python) = python() else { return };
    let probe = function_of(4, INHERITED);
    python
        .runtime
        .check(
            probe.site_id,
            &probe.source,
            &tollgate_core::egress::EgressHosts::default(),
        )
        .await
        .unwrap();
    let launchers = python.launchers();
    value(&python.call(&probe, json!({})).await);
    assert_eq!(python.launchers(), launchers);
}

#[tokio::test]
async fn a_site_without_workers_makes_room_for_another() {
    let Some(python) = python_with(|config| config.hosts_max = 1) else {
        return;
    };
    let first = function_of(1, INHERITED);
    value(&python.call(&first, json!({})).await);
    let old = python.launchers();
    assert_eq!(old.len(), 1);
    python
        .runtime
        .retire(first.site_id, first.function_id, None);
    value(&python.call(&function_of(2, INHERITED), json!({})).await);
    eventually("the first site's host is gone", || !old[0].runs()).await;
    assert_eq!(python.launchers().len(), 1);
}

#[tokio::test]
async fn a_site_that_finds_no_room_is_told_which_setting_bounds_it() {
    let Some(python) = python_with(|config| config.hosts_max = 1) else {
        return;
    };
    value(&python.call(&function_of(1, INHERITED), json!({})).await);
    let report = python.call(&function_of(2, INHERITED), json!({})).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(failed.message.contains("[python] hosts"), "{failed:?}");
}

#[tokio::test]
async fn an_idle_host_is_let_go() {
    let Some(python) = python_with(|config| {
        config.idle = Duration::from_millis(100);
        config.host_idle = Duration::from_millis(100);
    }) else {
        return;
    };
    value(&python.call(&function_of(1, INHERITED), json!({})).await);
    let host = python.launchers();
    assert_eq!(host.len(), 1);
    eventually("the host is gone", || !host[0].runs()).await;
    value(&python.call(&function_of(1, INHERITED), json!({})).await);
}

const SLEEPER: &str =
    "import time\ndef main(p):\n    open('sleeping', 'w').close()\n    time.sleep(600)";

/// The launcher, and what has children below it: the host. Killing either takes everything along.
fn killed_in_turn(python: &Python) -> Vec<Process> {
    let launchers = python.launchers();
    let all = python.processes();
    let host = all
        .iter()
        .filter(|it| launchers.iter().any(|of| it.parent == of.pid));
    launchers
        .iter()
        .cloned()
        .chain(host.take(1).cloned())
        .collect()
}

#[tokio::test]
async fn the_death_of_a_host_is_the_servers_fault_and_survived_within_a_second() {
    let Some(python) = python() else { return };
    let quick = function("def main(p): return 'well'");
    value(&python.call(&quick, json!({})).await);
    for round in 0..4 {
        for which in 0..2 {
            let sleeper = function(SLEEPER);
            let (report, ()) = tokio::join!(python.call(&sleeper, json!({})), async {
                eventually("the sleeper runs", || python.wrote("sleeping")).await;
                let victims = killed_in_turn(&python);
                victims[which % victims.len()].signal(rustix::process::Signal::KILL);
            });
            let failed = failure(&report);
            // What the engine repeats without counting an attempt.
            assert_eq!(failed.kind, FailureKind::Unavailable, "{round}: {failed:?}");
            assert!(failed.message.contains("host ended"), "{failed:?}");
            let began = python.clock.monotonic();
            assert_eq!(value(&python.call(&quick, json!({})).await), "well");
            let took = python.clock.monotonic() - began;
            // One loss after the other is waited out ever longer.
            let allowed = if round == 0 { 1 } else { 8 };
            assert!(took < Duration::from_secs(allowed), "{round}: {took:?}");
        }
    }
}

#[tokio::test]
async fn the_death_of_one_sites_host_is_no_other_sites() {
    let Some(python) = python() else { return };
    let (ours, theirs) = (function_of(1, INHERITED), function_of(2, INHERITED));
    value(&python.call(&ours, json!({})).await);
    let own = python.launchers();
    let before = value(&python.call(&theirs, json!({})).await);
    own[0].signal(rustix::process::Signal::KILL);
    eventually("it is gone", || !own[0].runs()).await;
    assert_eq!(value(&python.call(&theirs, json!({})).await), before);
}

#[tokio::test]
async fn without_mounts_no_function_reaches_anothers_scratch() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    let keeper = "import os\nopen('canary', 'w').write('canary')\nos.makedirs('deep/er')\ndef main(p): return os.getcwd()";
    let folder = value(&python.call(&function(keeper), json!({})).await);
    // It knows the folder's name, and has the same user.
    let thief = "import os\ndef main(p):\n    done, home = [], os.getcwd()\n    canary = p['at'] + '/canary'\n    for way in (lambda: open(canary).read(), lambda: open(canary, 'w'), lambda: open(p['at'] + '/new', 'w'), lambda: os.listdir(p['at']), lambda: os.remove(canary), lambda: os.rename(canary, 'x'), lambda: os.link(canary, 'x'), lambda: os.rename('own', p['at'] + '/deep/own'), lambda: os.listdir(os.path.dirname(p['at'])), lambda: os.chdir(p['at']) or os.listdir('.'), lambda: os.mkdir(p['at'] + '/deep/mine'), lambda: os.truncate(canary, 0)):\n        os.chdir(home)\n        open('own', 'w').close()\n        try:\n            way()\n            done.append(way.__code__.co_firstlineno)\n        except OSError: pass\n    os.chdir(home)\n    return [done, open('own').read()]";
    for other in [function(thief), function_of(9, thief)] {
        let report = python.call(&other, json!({"at": folder})).await;
        assert_eq!(value(&report), json!([[], ""]));
    }
    let canary = format!("{}/canary", folder.as_str().unwrap());
    assert_eq!(std::fs::read_to_string(canary).unwrap(), "canary");
}

#[tokio::test]
async fn scratch_is_emptied_at_the_end_of_worker_and_server() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    let deep = "import os\nat = os.getcwd()\nopen('file', 'w').write('x')\nfor _ in range(1100):\n    os.mkdir('d')\n    os.chdir('d')\nos.chdir(at)\nos.mkdir('closed', 0o300)\nopen('closed/file', 'w').close()\ndef main(p): return at";
    let first = function(deep);
    let at = value(&python.call(&first, json!({})).await);
    let folder = std::path::PathBuf::from(at.as_str().unwrap());
    assert!(folder.join("file").exists());
    python
        .runtime
        .retire(first.site_id, first.function_id, None);
    eventually("the folder is gone with its worker", || !folder.exists()).await;
    let at = value(&python.call(&function(deep), json!({})).await);
    let folder = std::path::PathBuf::from(at.as_str().unwrap());
    assert!(folder.exists());
    python.runtime.shutdown().await;
    let place = folder.parent().unwrap();
    assert!(!place.exists(), "{}", place.display());
}

#[tokio::test]
async fn an_interpreter_below_tmp_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let library = folder.path().to_owned();
    let made = behind_refused(|config| config.python.library.push(library)).await;
    let Some(reason) = made else { return };
    assert!(reason.contains("lies below /tmp"), "{reason}");
    assert!(reason.contains("elsewhere"), "{reason}");
}

/// Why no function runs.
async fn behind_refused(
    change: impl FnOnce(&mut tollgate_runtimes::ProcessConfig),
) -> Option<String> {
    let python = python_with(change)?;
    let report = python.once("def main(p): return 1").await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert_eq!(
        python.runtime.health(),
        Err(python
            .runtime
            .ready(tollgate_runtimes::Language::Python)
            .await
            .unwrap_err())
    );
    Some(failed.message.clone())
}
