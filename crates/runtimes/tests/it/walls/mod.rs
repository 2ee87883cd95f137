//! The walls around function code, attacked from inside by real functions. The groups carry the
//! numbers of the experiments in which they were planned, E11 to E17.

mod calls;
mod files;
mod levels;
mod memory;
mod network;
mod output;
mod processes;
mod sites;
mod time;

use crate::support::{Python, python_with, skipped};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tollgate_core::confinement::{Confinement, Wall};
use tollgate_runtimes::{Interpreter, Language, LauncherSpec, ProcessConfig};

/// A runtime with these walls; none, loudly, where the kernel lacks one.
async fn behind(walls: &[Wall]) -> Option<Python> {
    behind_with(walls, |_| {}).await
}

async fn behind_with(walls: &[Wall], change: impl FnOnce(&mut ProcessConfig)) -> Option<Python> {
    standing(python_with(change)?, Language::Python, walls).await
}

/// The runtime, if these walls stand around functions of this language.
pub(crate) async fn standing(python: Python, language: Language, walls: &[Wall]) -> Option<Python> {
    let standing = match python.runtime.ready(language).await {
        Ok(Confinement::On(standing)) => standing,
        other => panic!("not confined: {other:?}"),
    };
    for &wall in walls {
        if let Some(reason) = standing.reason(wall) {
            skipped(&format!("no wall {wall} here: {reason}"));
            return None;
        }
    }
    Some(python)
}

/// A launcher to which the kernel refuses some calls, as in a container: `strace` answers in its
/// place. None, loudly, without `strace`.
pub(crate) fn refusing(calls: &[&str]) -> Option<LauncherSpec> {
    refusing_with(calls, &[])
}

/// The same with further arguments for `strace`.
fn refusing_with(calls: &[&str], further: &[&str]) -> Option<LauncherSpec> {
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() {
        skipped("strace is not installed");
        return None;
    }
    let own = LauncherSpec::this_test_binary().unwrap();
    let mut args = vec!["-f".to_owned(), "-qq".to_owned(), "-o".to_owned()];
    args.push("/dev/null".to_owned());
    let names: Vec<_> = calls.iter().map(|call| call.split(':').next()).collect();
    let names: Vec<_> = names.into_iter().flatten().collect();
    args.extend(["-e".to_owned(), format!("trace={}", names.join(","))]);
    for call in calls {
        args.extend(["-e".to_owned(), format!("inject={call}")]);
    }
    args.extend(further.iter().map(|&arg| arg.to_owned()));
    args.push("--".to_owned());
    args.push(own.program.to_str().unwrap().to_owned());
    args.extend(own.args);
    Some(LauncherSpec {
        program: strace.to_owned(),
        args,
    })
}

/// A folder in which everybody on this machine may do everything.
pub(crate) fn open_folder(around: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(around).unwrap();
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), all).unwrap();
    folder
}

/// A runtime of an ordinary user, on which no namespace can be had, with the scratch folder in `scratch`.
async fn with_the_least(scratch: &Path, change: impl FnOnce(&mut ProcessConfig)) -> Option<Python> {
    let (Ok(interpreter), Some(mut launcher)) = (
        Interpreter::find(Path::new("/usr/bin/python3")),
        refusing(&["unshare:error=EPERM"]),
    ) else {
        skipped("no /usr/bin/python3 for another user");
        return None;
    };
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        skipped("only root, with setpriv, can become another user");
        return None;
    }
    let place = launcher.args.iter().position(|arg| arg == "--").unwrap() + 1;
    let user = "/usr/bin/setpriv --reuid=61001 --regid=61001 --clear-groups --";
    let words = user.split(' ').map(str::to_owned);
    launcher.args.splice(place..place, words);
    behind_with(&[], |config| {
        config.launcher = launcher;
        config.python = interpreter;
        config.scratch_dir = scratch.to_owned();
        change(config);
    })
    .await
}

/// A runtime on which no namespace can be had, as in a common container.
async fn without_namespaces() -> Option<Python> {
    let launcher = refusing(&["unshare:error=EPERM"])?;
    // Without a file tree of its own the other user must be able to read the interpreter.
    let interpreter = match Interpreter::find(Path::new("/usr/bin/python3")) {
        Ok(interpreter) => interpreter,
        Err(error) => {
            skipped(&format!("no Python for all users: {error}"));
            return None;
        }
    };
    behind_with(&[], |config| {
        config.launcher = launcher;
        config.python = interpreter;
    })
    .await
}
