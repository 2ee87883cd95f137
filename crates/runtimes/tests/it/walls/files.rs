//! E15: what belongs to others is not read, by whatever way.

use super::{behind, behind_with, open_folder, refusing, without_namespaces};
use crate::support::{Python, function, value};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tollgate_core::confinement::{Confinement, Wall};
use tollgate_core::ports::runtime::Runtime as _;

const READS: &str = include_str!("read_files.py");
const CANARY: &str = "canary-3f9c2a";

/// A folder that everybody on this machine may read, with the canary in it: only the walls keep it.
struct Canaries(tempfile::TempDir);

impl Canaries {
    fn new() -> Self {
        let folder = open_folder("/var/tmp");
        // Like a data folder.
        for name in ["tollgate.db", "jwt.key", "tollgate.toml"] {
            let path = folder.path().join(name);
            std::fs::write(&path, CANARY).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

async fn nothing_is_read(python: &Python) {
    let canaries = Canaries::new();
    value(&python.once("def main(p): return 1").await);
    // Stays open, without close-on-exec, while the next workers start.
    let leaked = std::fs::File::open(canaries.path().join("jwt.key")).unwrap();
    let leaked = rustix::io::dup(&leaked).unwrap();
    let params = json!({
        "folder": canaries.path(),
        "files": ["tollgate.db", "jwt.key", "tollgate.toml"],
        "server": std::process::id(),
        "launcher": python.processes()[0].pid,
    });
    let report = python.call(&function(READS), params).await;
    let seen = value(&report);
    let text = format!("{seen} {:?}", report.logs);
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains("root:"), "{text}");
    let ways = seen.as_object().unwrap();
    assert!(ways.len() > 20, "{seen}");
    for (way, outcome) in ways {
        let refused = outcome
            .as_str()
            .is_some_and(|text| text.starts_with("refused"));
        assert!(refused, "{way}: {outcome}");
    }
    for name in ["tollgate.db", "jwt.key", "tollgate.toml"] {
        let path = canaries.path().join(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CANARY);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666, "{name}");
    }
    let entries = canaries.path().read_dir().unwrap().count();
    assert_eq!(entries, 3, "something was written");
    drop(leaked);
}

#[tokio::test]
async fn no_way_leads_to_a_file_of_the_servers() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    nothing_is_read(&python).await;
}

#[tokio::test]
async fn nor_where_there_are_no_namespaces() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    nothing_is_read(&python).await;
}

#[tokio::test]
async fn the_servers_files_do_not_even_exist() {
    let Some(python) = behind(&[Wall::Root]).await else {
        return;
    };
    let canaries = Canaries::new();
    let code = "import os\ndef main(p): return [os.path.exists(path) for path in p['paths']] + [sorted(os.listdir('/tmp'))]";
    let params = json!({"paths": [canaries.path(), "/etc/passwd", "/proc/1", "/sys", "/var"]});
    let seen = value(&python.call(&function(code), params).await);
    assert_eq!(seen, json!([false, false, false, false, false, []]));
}

/// One function hides a secret in its scratch folder, another looks for it.
async fn scratch_is_private(python: &Python) {
    let keeper = function(
        "import os\ndef main(p):\n    open('secret', 'w').write('canary-3f9c2a')\n    os.chmod('secret', 0o777) if p.get('open') else None\n    return [os.getcwd(), os.environ['HOME'], os.environ['TMPDIR']]",
    );
    let kept = value(&python.call(&keeper, json!({})).await);
    assert!(kept[0] == kept[1] && kept[1] == kept[2], "{kept}");
    let seeker = function(
        "import os\ndef main(p):\n    found = []\n    for top in ('/scratch', '/tmp', os.getcwd(), os.path.dirname(os.getcwd())):\n        try: os.chmod(top, 0o777)\n        except OSError: pass\n        try: os.fchmod(os.open(top, os.O_RDONLY), 0o777)\n        except OSError: pass\n        for folder, _, files in os.walk(top):\n            for name in files:\n                try: found.append([folder, name, open(os.path.join(folder, name)).read(200)])\n                except OSError: pass\n    return found",
    );
    let found = value(&python.call(&seeker, json!({})).await);
    assert!(!found.to_string().contains(CANARY), "{found}");
}

#[tokio::test]
async fn a_scratch_folder_is_its_workers_alone() {
    let Some(python) = behind(&[Wall::Scratch]).await else {
        return;
    };
    scratch_is_private(&python).await;
}

/// A file tree of its own, but all workers' folders on one file system in memory.
#[tokio::test]
async fn also_where_only_user_namespaces_are_refused() {
    // The first call of each process: the trial's only one, and the launcher's for processes.
    let Some(launcher) = refusing(&["unshare:error=EPERM:when=1"]) else {
        return;
    };
    let walls = [Wall::Root, Wall::Network];
    let made = behind_with(&walls, |config| config.launcher = launcher);
    let Some(python) = made.await else { return };
    let Some(Confinement::On(standing)) = python.runtime.confinement() else {
        panic!("not confined")
    };
    assert!(!standing.stands(Wall::Scratch), "{standing:?}");
    scratch_is_private(&python).await;
    nothing_is_read(&python).await;
}

#[tokio::test]
async fn also_on_disk() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    scratch_is_private(&python).await;
    let home = "import os\ndef main(p): return os.getcwd()";
    let folder = value(&python.once(home).await);
    let Value::String(folder) = folder else {
        panic!("{folder}")
    };
    assert!(Path::new(&folder).exists());
    python.runtime.shutdown().await;
    assert!(!Path::new(&folder).exists(), "{folder} was left");
    assert!(!Path::new(&folder).parent().unwrap().exists());
}
