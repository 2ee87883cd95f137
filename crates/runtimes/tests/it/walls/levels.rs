//! What happens where a wall cannot stand, or is not wanted.

use super::{
    behind, behind_with, open_folder, refusing, refusing_with, with_the_least, without_namespaces,
};
use crate::support::{failure, function, python_with, skipped, value};
use serde_json::json;
use std::path::Path;
use tollgate_core::confinement::{Confinement, Wall};
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;
use tollgate_runtimes::{Interpreter, LauncherSpec};

/// What functions commonly do must work at every level.
const COMMON: &str = include_str!("use_common.py");

#[tokio::test]
async fn what_functions_commonly_do_works() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let seen = value(&python.once(COMMON).await);
    assert_eq!(seen, "all done");
}

#[tokio::test]
async fn also_where_there_are_no_namespaces() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    assert_eq!(value(&python.once(COMMON).await), "all done");
    let Some(Confinement::On(walls)) = python.runtime.confinement() else {
        panic!("not confined")
    };
    for wall in [Wall::SystemCalls, Wall::Files] {
        assert!(walls.stands(wall), "{walls:?}");
    }
    for wall in [Wall::Root, Wall::Processes, Wall::Network, Wall::Scratch] {
        let reason = walls.reason(wall).unwrap();
        assert!(reason.contains("not permitted"), "{reason}");
    }
    let health = python.runtime.health().unwrap();
    assert!(health.contains("missing:"), "{health}");
}

#[tokio::test]
async fn without_a_required_wall_nothing_runs() {
    for (call, missing) in [
        ("landlock_create_ruleset:error=ENOSYS", "Landlock"),
        ("landlock_create_ruleset:error=EOPNOTSUPP", "Landlock"),
        ("seccomp:error=EINVAL", "seccomp"),
        ("setresuid:error=EPERM", "step user"),
    ] {
        let Some(launcher) = refusing(&[call]) else {
            return;
        };
        let Some(python) = python_with(|config| config.launcher = launcher) else {
            return;
        };
        if call.starts_with("setres") && !rustix::process::geteuid().is_root() {
            skipped("only root changes its user");
            continue;
        }
        let started = python.clock.monotonic();
        for _ in 0..3 {
            let report = python.once("def main(p): return 'ran'").await;
            let failed = failure(&report);
            assert_eq!(failed.kind, FailureKind::Unavailable, "{call}: {failed:?}");
            assert!(failed.message.contains(missing), "{call}: {failed:?}");
            assert!(failed.message.contains("`tollgate doctor`"), "{failed:?}");
        }
        // A second try would be in vain, so nobody waits for one.
        let took = python.clock.monotonic() - started;
        assert!(took.as_secs() < 5, "{call}: {took:?}");
        assert!(python.runtime.health().is_err());
        assert_eq!(python.runtime.confinement(), None);
    }
}

/// The launcher's walls stood, but a worker's own fail.
#[tokio::test]
async fn a_worker_that_cannot_wall_itself_in_runs_nothing() {
    // This path only, which is a worker's and not the launcher's.
    let only = ["-P", "/scratch/own"];
    let Some(launcher) = refusing_with(&["mount:error=EPERM"], &only) else {
        return;
    };
    let Some(python) = behind_with(&[Wall::Root], |config| config.launcher = launcher).await else {
        return;
    };
    let report = python.once("def main(p): return 'ran'").await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(
        failed.message.contains("mount: Operation not permitted"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn without_root_the_walls_stand_too() {
    let system = Path::new("/usr/bin/python3");
    let setpriv = Path::new("/usr/bin/setpriv");
    let Ok(interpreter) = Interpreter::find(system) else {
        skipped("no /usr/bin/python3 for another user");
        return;
    };
    if !rustix::process::geteuid().is_root() || !setpriv.exists() {
        skipped("only root, with setpriv, can become another user");
        return;
    }
    let own = LauncherSpec::this_test_binary().unwrap();
    let user = "--reuid=61001 --regid=61001 --clear-groups --";
    let mut args: Vec<_> = user.split(' ').map(str::to_owned).collect();
    args.push(own.program.to_str().unwrap().to_owned());
    args.extend(own.args);
    let launcher = LauncherSpec {
        program: setpriv.to_owned(),
        args,
    };
    let walls = [Wall::Root, Wall::Processes, Wall::Network, Wall::Scratch];
    let made = behind_with(&walls, |config| {
        config.launcher = launcher;
        config.python = interpreter;
    });
    let Some(python) = made.await else { return };
    assert_eq!(value(&python.once(COMMON).await), "all done");
    let who = "import os\ndef main(p): return [os.getuid(), os.path.exists('/etc/passwd')]";
    assert_eq!(value(&python.once(who).await), json!([61001, false]));
}

/// A service manager may give the server a mask that lets nobody else in.
#[tokio::test]
async fn a_strict_mask_hides_nothing_from_the_other_user() {
    let own = LauncherSpec::this_test_binary().unwrap();
    let script = "umask 077; exec \"$0\" \"$@\"";
    let mut args = vec!["-c".to_owned(), script.to_owned()];
    args.push(own.program.to_str().unwrap().to_owned());
    args.extend(own.args);
    let launcher = LauncherSpec {
        program: "/bin/sh".into(),
        args,
    };
    let Some(python) = behind_with(&[], |config| config.launcher = launcher).await else {
        return;
    };
    assert_eq!(value(&python.once(COMMON).await), "all done");
}

/// The least that there is: a container whose user is not root.
#[tokio::test]
async fn without_root_and_namespaces_the_required_walls_stand() {
    let scratch = open_folder("/var/tmp");
    let made = with_the_least(scratch.path(), |_| {});
    let Some(python) = made.await else { return };
    assert_eq!(value(&python.once(COMMON).await), "all done");
    let who = "import os\ndef main(p):\n    try: os.listdir('/etc')\n    except PermissionError: return os.getuid()";
    assert_eq!(value(&python.once(who).await), json!(61001));
    // Its own user's files are out of reach too.
    let own = scratch.path().join("canary");
    std::fs::write(&own, "canary").unwrap();
    std::os::unix::fs::chown(&own, Some(61001), Some(61001)).unwrap();
    let code = "import os\ndef main(p):\n    done = []\n    for way in (lambda f: open(f).read(), lambda f: open(f, 'w'), os.remove, lambda f: os.chmod(f, 0), lambda f: os.truncate(f, 0), lambda f: os.utime(f), lambda f: os.chown(f, -1, -1), lambda f: os.setxattr(f, 'user.x', b'y'), lambda f: os.rename(f, 'x')):\n        try:\n            way(p['file'])\n            done.append(repr(way))\n        except OSError: pass\n    return done";
    let report = python.call(&function(code), json!({"file": own})).await;
    assert_eq!(value(&report), json!([]));
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "canary");
    python.runtime.shutdown().await;
    let left = scratch.path().read_dir().unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["canary"]);
}

#[tokio::test]
async fn switched_off_it_says_so() {
    let Some(python) = python_with(|config| config.sandbox = false) else {
        return;
    };
    assert_eq!(
        python
            .runtime
            .ready(tollgate_runtimes::Language::Python)
            .await,
        Ok(Confinement::Off)
    );
    assert!(python.runtime.health().unwrap().contains("sandbox off"));
    let code = "import os\ndef main(p): return os.path.exists('/etc/passwd')";
    assert_eq!(value(&python.once(code).await), true);
}

/// A data folder among the interpreter's modules would be readable.
#[tokio::test]
async fn what_is_hidden_must_not_lie_among_the_modules() {
    let library = tempfile::tempdir().unwrap();
    let data = library.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let made = python_with(|config| {
        config.python.library.push(library.path().to_owned());
        config.hidden.push(data.clone());
    });
    let Some(python) = made else { return };
    let report = python
        .call(&function("def main(p): return 1"), json!({}))
        .await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable);
    assert!(
        failed.message.contains(data.to_str().unwrap()),
        "{failed:?}"
    );
}
