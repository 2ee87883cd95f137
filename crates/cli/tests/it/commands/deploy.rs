//! `tollgate function deploy`: everything that a function can be, and every way in which it says what it did.

use crate::support::code::AGREE;
use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::{Value, json};

async fn deploy(folder: &Folder, args: &[&str]) -> crate::support::folder::Said {
    folder.run(&[&["function", "deploy"], args].concat()).await
}

#[tokio::test]
async fn it_creates_no_app_by_the_way() {
    let server = Server::start().await;
    server.api.app("user-management").await;
    let folder = &server.folder;
    folder.write("check.py", AGREE);
    let error = deploy(folder, &["check.py", "--app", "user-managment"])
        .await
        .refused();
    for text in [
        "there is no app `user-managment`",
        "did you mean `user-management`? Nothing was deployed",
        "--create-app",
    ] {
        assert!(error.contains(text), "{text}: {error}");
    }
    assert_eq!(server.api.get("/api/apps/").await.ok()["total"], 1);
    let said = deploy(folder, &["check.py", "--app", "mine", "--create-app"])
        .await
        .ok();
    assert!(
        said.starts_with("created app mine\ncreated check version 1 "),
        "{said}"
    );
    let said = deploy(folder, &["check.py", "--app", "mine", "--create-app"])
        .await
        .ok();
    assert!(said.starts_with("unchanged check version 1 "), "{said}");
    server.stop().await;
}

const EVERY_FLAG: [&str; 36] = [
    "check.py",
    "--app",
    "gate",
    "--name",
    "The Check",
    "--slug",
    "the-check",
    "--description",
    "Checks",
    "--network",
    "egress",
    "--permission",
    "users.read",
    "--permissions-scope",
    "site",
    "--timeout",
    "7.5",
    "--attempts",
    "2",
    "--memory",
    "128",
    "--concurrency",
    "3",
    "--public",
    "--async",
    "--filter-conditions",
    "user.username != 'root'",
    "--subscribe",
    "PRE_USER_CREATE",
    "--priority",
    "-5",
    "--filter",
    "user.username != 'x'",
    "--on-timeout",
    "allow",
    "--json",
];

#[tokio::test]
async fn every_option_reaches_the_function_and_the_subscription() {
    let server = Server::start().await;
    server.api.app("gate").await;
    let folder = &server.folder;
    folder.write("check.py", AGREE);
    let said = deploy(folder, &EVERY_FLAG).await.json();
    assert_eq!(said["outcome"], "created", "{said}");
    let path = "/api/apps/gate/functions/the-check/";
    let function = server.api.get(path).await.ok();
    for (key, value) in [
        ("name", json!("The Check")),
        ("description", json!("Checks")),
        ("network", json!("egress")),
        ("permissions", json!(["users.read"])),
        ("permissions_scope", json!("site")),
        ("timeout_seconds", json!(7.5)),
        ("max_attempts", json!(2)),
        ("memory_mb", json!(128)),
        ("max_concurrency", json!(3)),
        ("is_public", json!(true)),
        ("async_mode", json!(true)),
        ("filter_conditions", json!("user.username != 'root'")),
    ] {
        assert_eq!(function[key], value, "{key}");
    }
    let event = server
        .api
        .get("/api/apps/gate/events/PRE_USER_CREATE/")
        .await
        .ok();
    let options = &event["data"]["subscribers"][0]["options"];
    assert_eq!(options["priority"], -5, "{event}");
    assert_eq!(options["filter"], "user.username != 'x'");
    assert_eq!(options["on_timeout"], "allow");

    what_is_left_out_stays(&server).await;
    server.stop().await;
}

/// And what is the same is no change.
async fn what_is_left_out_stays(server: &Server) {
    let folder = &server.folder;
    let path = "/api/apps/gate/functions/the-check/";
    let again = ["check.py", "--app", "gate", "--slug", "the-check"];
    let said = deploy(folder, &again).await.ok();
    assert!(said.starts_with("unchanged the-check version 1 "), "{said}");
    let some = [
        &again[..],
        &["--timeout", "none", "--public=false", "--inactive"],
    ]
    .concat();
    let said = deploy(folder, &some).await.ok();
    assert!(
        said.contains("updated the-check version 1") && said.contains("is_public"),
        "{said}"
    );
    let function = server.api.get(path).await.ok();
    assert_eq!(function["timeout_seconds"], Value::Null);
    assert_eq!(
        (&function["is_public"], &function["is_active"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(function["max_attempts"], 2);
    let subscribe = ["--subscribe", "PRE_USER_CREATE", "--priority", "1"];
    let said = deploy(folder, &[&again[..], &subscribe].concat())
        .await
        .ok();
    assert!(
        said.ends_with("changed the subscription to PRE_USER_CREATE\n"),
        "{said}"
    );
    // Switched off, it is no subscription that does anything.
    let event = ["PRE_USER_CREATE", "the-check", "--app", "gate", "--active"];
    for (active, warns) in [("false", true), ("true", false)] {
        let switch = [&["events", "subscribe"], &event[..], &[active]].concat();
        folder.run(&switch).await.ok();
        for priority in ["1", "1", "2", "1"] {
            let subscribe = ["--subscribe", "PRE_USER_CREATE", "--priority", priority];
            let said = deploy(folder, &[&again[..], &subscribe].concat()).await;
            let warned =
                said.stderr.contains("is switched off") && said.stderr.contains("--active true");
            assert_eq!(warned, warns, "{said:?}");
        }
    }
}

#[tokio::test]
async fn what_stands_and_what_does_not_is_said() {
    let server = Server::start().await;
    server.api.app("gate").await;
    let folder = &server.folder;
    folder.write("check.py", AGREE);
    let base = ["check.py", "--app", "gate"];
    // A name that is wrong is found before anything is made.
    let unknown = [
        "--subscribe",
        "POST_USER_CREATE",
        "--subscribe",
        "PRE_USER_CRATE",
    ];
    let error = deploy(folder, &[&base[..], &unknown].concat())
        .await
        .refused();
    assert!(error.contains("did you mean `PRE_USER_CREATE`?"), "{error}");
    assert!(error.contains("nothing was deployed"), "{error}");
    assert_eq!(
        server.api.get("/api/apps/gate/functions/").await.ok()["total"],
        0
    );
    // What only the server can refuse comes after the function is there.
    let events = [
        "--subscribe",
        "PRE_USER_CREATE",
        "--subscribe",
        "POST_USER_CREATE",
        "--subscribe",
        "PRE_USER_DELETE",
        "--on-timeout",
        "allow",
    ];
    let args = [&base[..], &events].concat();
    let said = deploy(folder, &args).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout.starts_with("created check version 1 "),
        "{said:?}"
    );
    assert!(
        said.stdout.contains("subscribed to PRE_USER_CREATE"),
        "{said:?}"
    );
    for text in [
        "check is deployed, and not subscribed to POST_USER_CREATE",
        "it is subscribed to PRE_USER_CREATE",
        "not tried: PRE_USER_DELETE",
    ] {
        assert!(said.stderr.contains(text), "{text}: {said:?}");
    }
    let json = deploy(folder, &[&args[..], &["--json"]].concat()).await;
    assert_eq!(json.code, Some(1), "{json:?}");
    let told: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(told["outcome"], "unchanged");
    assert_eq!(told["subscriptions"][1]["outcome"], "failed");
    let error = deploy(folder, &[&base[..], &["--priority", "1"]].concat())
        .await
        .refused();
    assert!(error.contains("--subscribe"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_its_line_and_a_caret() {
    let server = Server::start().await;
    server.api.app("gate").await;
    let folder = &server.folder;
    for (name, code, place, source) in [
        (
            "open.py",
            "def main(params):\n    return (\n",
            "open.py:2:12",
            "2 | return (",
        ),
        (
            "word.py",
            "def main(params):\n\treturn 1 +* 2\n",
            "word.py:2:",
            "return 1 +* 2",
        ),
        ("none.py", "x = 1\n", "none.py", ""),
    ] {
        folder.write(name, code);
        for args in [
            &["function", "deploy", name, "--app", "gate"][..],
            &["function", "run", name],
        ] {
            let error = folder.run(args).await.refused();
            assert!(error.contains(place), "{error}");
            if source.is_empty() {
                assert!(error.contains("main"), "{error}");
                continue;
            }
            let lines: Vec<&str> = error.lines().collect();
            let at = lines
                .iter()
                .position(|line| line.contains("return"))
                .unwrap();
            let caret = lines[at + 1].find('^').unwrap();
            assert!(lines[at].len() > caret, "{error}");
        }
    }
    assert_eq!(
        server.api.get("/api/apps/gate/functions/").await.ok()["total"],
        0
    );
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_kind_of_file_is_named_without_a_server() {
    let folder = Folder::new();
    folder.write("page.html", "<html>");
    folder.write("empty.py", "");
    folder.write("check_name.py", AGREE);
    std::fs::create_dir(folder.path().join("package")).unwrap();
    std::fs::write(folder.path().join("utf16.py"), b"\xff\xfed\0e\0f\0").unwrap();
    std::fs::write(folder.path().join("program.py"), b"\x7fELF\0\0\0\x01").unwrap();
    for (file, says) in [
        ("page.html", "is neither Python nor JavaScript"),
        ("empty.py", "is empty"),
        ("package", "has no main.py"),
        ("utf16.py", "UTF-16"),
        ("program.py", "is binary"),
        ("chek_name.py", "did you mean `check_name.py`?"),
    ] {
        let error = deploy(&folder, &[file, "--app", "gate"]).await.refused();
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[tokio::test]
async fn versions_are_listed_rolled_back_and_deleted() {
    let server = Server::start().await;
    server.api.app("gate").await;
    let folder = &server.folder;
    for number in 1..=3 {
        folder.write(
            "check.py",
            &format!("def main(params):\n    return {number}\n"),
        );
        deploy(folder, &["check.py", "--app", "gate"]).await.ok();
    }
    let run = async |args: &[&str]| folder.run(&[&["function"], args].concat()).await;
    let listed = run(&["list"]).await.ok();
    assert!(
        listed
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("gate  check     3"),
        "{listed}"
    );
    let versions = run(&["versions", "check"]).await.ok();
    let lines: Vec<&str> = versions.lines().collect();
    assert!(lines[0].starts_with("VERSION"), "{versions}");
    assert!(
        lines[1].starts_with('3') && lines[1].ends_with("active"),
        "{versions}"
    );
    assert_eq!(lines.len(), 4);
    let said = run(&["rollback", "check"]).await.ok();
    assert_eq!(said, "check runs version 2 (before: 3)\n");
    assert_eq!(run(&["run", "check"]).await.ok(), "2\n");
    run(&["rollback", "check", "--to", "1"]).await.ok();
    assert_eq!(run(&["run", "check", "--app", "gate"]).await.ok(), "1\n");
    let again = run(&["rollback", "check", "--to", "1"]).await;
    assert!(
        again.stderr.contains("is the active one already"),
        "{again:?}"
    );
    assert_eq!(again.ok(), "");
    let json = run(&["rollback", "check", "--to", "1", "--json"])
        .await
        .json();
    assert_eq!(json["version"], 1, "{json}");
    let error = run(&["rollback", "check"]).await.refused();
    assert!(error.contains("no version before"), "{error}");
    let error = run(&["rollback", "check", "--to", "9"]).await.refused();
    assert!(error.contains("no version 9; there is 3, 2, 1"), "{error}");
    let shown = run(&["show", "check"]).await.ok();
    assert!(shown.starts_with("check: Check\n"), "{shown}");
    assert_eq!(
        run(&["show", "check", "--code"]).await.ok(),
        "def main(params):\n    return 1\n"
    );
    let error = run(&["delete", "check"]).await.refused();
    assert!(error.contains("--yes"), "{error}");
    assert_eq!(
        run(&["delete", "check", "--yes"]).await.ok(),
        "deleted check of app gate\n"
    );
    // What it did stays on record.
    assert_eq!(run(&["logs", "check"]).await.ok().lines().count(), 2);
    server.stop().await;
}
