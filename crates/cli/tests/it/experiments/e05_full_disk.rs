//! E5: the disk is full. Changes are refused with the error envelope and leave nothing behind, runs
//! under way keep their results until there is room, and nobody has to restart anything.

use super::checker::check;
use super::history::History;
use super::load::{held, settled, subscribed, times_run};
use super::seed::Seed;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::{poll, skipped};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The data folder on a file system of its own, unmounted on drop.
struct SmallDisk {
    folder: Arc<Folder>,
}

impl SmallDisk {
    /// None, loudly, where mounting is not allowed.
    fn mount() -> Option<Self> {
        let folder = Arc::new(Folder::new());
        let at = folder.data();
        std::fs::create_dir(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=16m,mode=0700", "tollgate-test"];
        let mounted = Command::new("mount").args(options).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            other => {
                skipped(&format!(
                    "a full disk needs the right to mount a tmpfs: {other:?}"
                ));
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.data().join("ballast")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.folder.data()).status();
        let fine = unmounted.is_ok_and(|status| status.success());
        assert!(fine || std::thread::panicking(), "the disk stays mounted");
    }
}

const HELD: usize = 3;

#[tokio::test]
async fn a_full_disk_refuses_changes_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let history = History::begin("e05", &Seed::from_env());
    let folder = Arc::clone(&disk.folder);
    let server = Server::without_walls(&folder).await;
    let api = server.api.clone();
    subscribed(&history, &api, &folder).await;
    api.app("jobs").await;
    let (code, begun) = held(&folder);
    api.function("jobs", "held", &code, &json!({})).await;
    for _ in 0..HELD {
        history.queue(&api, "jobs", "held").await.unwrap();
    }
    assert!(poll::holds_soon(|| begun.all().len() == HELD));
    assert_eq!(history.create_user(&api, "before").await, Some(201));

    disk.fill();
    history.note(&json!({"did": "fill"}));
    // What the log has room for already may still fit; then nothing does.
    let mut refused = 0;
    for number in 0..2000 {
        if refused == 20 {
            break;
        }
        let name = format!("full-{number}");
        match history.create_user(&api, &name).await {
            Some(201) => assert_eq!(refused, 0, "room came back by itself"),
            Some(503) => {
                refused += 1;
                assert_eq!(api.get(&format!("/api/users/{name}/")).await.status, 404);
            }
            other => panic!("{other:?} while the disk is full"),
        }
    }
    assert_eq!(refused, 20);
    let body = json!({"username": "ann", "email": "ann@example.com"});
    let answer = api.post("/api/users/", &body).await;
    answer.refused(503, "SERVICE_UNAVAILABLE");
    let answer = api.execute("jobs", "held", &json!({"async": true})).await;
    answer.refused(503, "SERVICE_UNAVAILABLE");
    // Runs end, and their results wait.
    folder.write("go", "");
    assert!(poll::holds_soon(|| times_run(&folder).len() >= HELD));
    server.stderr.clone().line("the store is away").await;

    disk.free();
    history.note(&json!({"did": "free"}));
    settled(&api).await;
    assert_eq!(history.create_user(&api, "after").await, Some(201));
    settled(&api).await;
    history.look(&api, usize::MAX).await;
    server.stop().await;
    // The database's own check is part of it.
    let found = check(&history, &folder);
    assert!(!found.users.contains("ann"));
    let times = times_run(&folder);
    let held = found.rows.iter().filter(|row| row.function == "held");
    for row in held.clone() {
        assert_eq!((&*row.state, row.attempt), ("succeeded", 1), "{row:?}");
        assert_eq!(times.get(&row.task_id), Some(&1), "{row:?}");
    }
    assert_eq!(held.count(), HELD);
}
