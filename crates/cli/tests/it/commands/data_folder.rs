//! The data folder and its files: nobody else's to write, and nothing in them followed elsewhere.

use crate::support::folder::Folder;
use crate::support::server::Server;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::sync::Arc;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn everything_in_it_is_its_owners_only() {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[]).await;
    server.api.create_user("ann").await.ok();
    assert_eq!(mode(&folder.data()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.data()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !entry.file_type().unwrap().is_dir() {
            assert_eq!(mode(&entry.path()), 0o600, "{name}");
        }
        names.push(name);
    }
    for name in [
        "tollgate.db",
        "tollgate.db-wal",
        "tollgate.db-shm",
        "jwt.key",
        "secrets.key",
        "cli.json",
        "tollgate.lock",
        "admin.sock",
    ] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_others_can_write_is_refused_by_every_command_that_opens_it() {
    let folder = Arc::new(Folder::new());
    Server::start_in(&folder, &[], &[]).await.stop().await;
    let data = folder.data();
    let fix = format!("chmod 700 {}", data.display()).replace(folder.path().to_str().unwrap(), ".");
    for wide in [0o770, 0o777, 0o1777] {
        chmod(&data, wide);
        for args in [
            &SERVE[..],
            &["migrate"],
            &["site", "list"],
            &["backup", "copy"],
            &["admin", "rotate-key"],
        ] {
            let error = folder.run(args).await.refused();
            assert!(
                error.contains("can be written by others") && error.contains("chmod 700"),
                "{args:?} {fix}: {error}"
            );
        }
        let doctor = folder.run(&["doctor"]).await;
        assert_eq!(doctor.code, Some(1), "{doctor:?}");
        assert!(
            doctor.stdout.contains("can be written by others"),
            "{doctor:?}"
        );
    }
    chmod(&data, 0o700);
    // Nor one in whose place others can put another.
    chmod(folder.path(), 0o777);
    let error = folder.run(&SERVE).await.refused();
    assert!(error.contains("chmod o-w"), "{error}");
    chmod(folder.path(), 0o1777);
    Server::start_in(&folder, &[], &[]).await.stop().await;
    assert!(!folder.path().join("copy").exists());
}

/// A folder that was named by mistake is not filled, and nothing is said to have been done.
#[tokio::test]
async fn what_is_no_data_folder_is_refused_by_every_command_but_serve_and_migrate() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("empty")).unwrap();
    chmod(&folder.path().join("empty"), 0o700);
    for dir in ["wrong", "empty"] {
        for args in [
            &["backup", "copy"][..],
            &["site", "list"],
            &["site", "create", "acme"],
            &["site", "add-domain", "default", "x.test"],
            &["site", "remove-domain", "default", "x.test"],
            &["admin", "rotate-key"],
            &["admin", "egress"],
            &["admin", "api-key"],
            &["admin", "create", "--email", "a@example.com"],
            &["admin", "reset-password", "--email", "a@example.com"],
            &["admin", "rename", "--id", "1", "--username", "x"],
            &["app", "list"],
            &["invocations", "list"],
        ] {
            let args = [args, &["--data-dir", dir]].concat();
            let said = folder.run(&args).await;
            let error = said.refused();
            assert!(error.contains(dir), "{args:?}: {error}");
            assert!(
                error.contains("no server") || error.contains("tollgate.db"),
                "{args:?}: {error}"
            );
        }
        folder.run(&["doctor", "--data-dir", dir]).await;
        let made = fs::read_dir(folder.path().join(dir)).map_or(0, Iterator::count);
        assert_eq!(made, 0, "{dir} was filled");
    }
    assert!(!folder.path().join("wrong").exists());
    assert!(!folder.path().join("copy").exists());
    folder.run(&["migrate", "--data-dir", "wrong"]).await.ok();
    folder
        .run(&["site", "list", "--data-dir", "wrong"])
        .await
        .ok();
}

#[tokio::test]
async fn somebody_elses_folder_is_refused() {
    if !rustix::process::geteuid().is_root() {
        crate::support::skipped("giving a folder to somebody else needs root");
        return;
    }
    let folder = Arc::new(Folder::new());
    Server::start_in(&folder, &[], &[]).await.stop().await;
    chown(folder.data(), Some(4711), None).unwrap();
    let error = folder.run(&SERVE).await.refused();
    assert!(error.contains("belongs to user 4711"), "{error}");
    chown(folder.data(), Some(0), None).unwrap();
    for name in ["jwt.key", "secrets.key", "tollgate.db"] {
        let path = folder.data().join(name);
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_is_refused_and_nothing_is_written_through_it() {
    for name in [
        "jwt.key",
        "secrets.key",
        "cli.json",
        "tollgate.db",
        "tollgate.lock",
        "tollgate.db-wal",
    ] {
        let folder = Arc::new(Folder::new());
        fs::create_dir(folder.data()).unwrap();
        chmod(&folder.data(), 0o700);
        let target = folder.write("target", "");
        symlink(&target, folder.data().join(name)).unwrap();
        let said = folder.run(&SERVE).await;
        assert_eq!(said.code, Some(1), "{name}: {said:?}");
        assert!(
            said.stderr.contains("is a symbolic link"),
            "{name}: {said:?}"
        );
        assert_eq!(fs::read(&target).unwrap(), b"", "{name}");
    }
}

#[tokio::test]
async fn a_key_that_others_could_read_is_closed_with_a_word() {
    let folder = Arc::new(Folder::new());
    Server::start_in(&folder, &[], &[]).await.stop().await;
    let key = folder.data().join("jwt.key");
    chmod(&key, 0o644);
    let mut server = Server::start_in(&folder, &[], &[]).await;
    let line = server.stderr.line("could be read by others").await;
    assert!(line.contains("jwt.key"), "{line}");
    assert_eq!(mode(&key), 0o600);
    server.stop().await;
    chmod(&key, 0o606);
    let error = folder.run(&SERVE).await.refused();
    assert!(error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_long_path_has_its_socket_too() {
    let folder = Arc::new(Folder::new());
    let long = "a".repeat(120);
    let data = folder.path().join(&long);
    let args = ["--data-dir", data.to_str().unwrap()];
    // The server's helper looks for its key where it usually is.
    fs::create_dir(&data).unwrap();
    symlink(&data, folder.data()).unwrap();
    let server = Server::start_in(&folder, &args, &[]).await;
    folder
        .run(&[&["site", "create", "acme"], &args[..]].concat())
        .await
        .ok();
    let listed = folder
        .run(&[&["site", "list", "--json"], &args[..]].concat())
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    server.stop().await;
}
