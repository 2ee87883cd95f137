//! Daily tasks, none of which needs curl: apps, secrets, subscriptions, sites, users.

use crate::support::api::{Api, bearer};
use crate::support::code::AGREE;
use crate::support::folder::{Folder, Said};
use crate::support::server::Server;
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

/// Runs a command with something on its standard input.
async fn piped(folder: &Folder, args: &[&str], input: &str) -> Said {
    let mut child = folder.command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = crate::support::soon("the command's end", child.wait_with_output())
        .await
        .unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn apps_are_made_shown_and_deleted() {
    let server = Server::start().await;
    let folder = &server.folder;
    let none = folder.run(&["app", "list"]).await;
    assert!(none.stderr.contains("there is no app yet"), "{none:?}");
    assert_eq!(none.ok(), "");
    let said = folder
        .run(&[
            "app",
            "create",
            "crm",
            "--name",
            "CRM",
            "--description",
            "x",
        ])
        .await
        .ok();
    assert_eq!(said, "created app crm\n");
    let listed = folder.run(&["app", "list"]).await.ok();
    assert!(listed.starts_with("APP  NAME  CREATED"), "{listed}");
    let shown = folder.run(&["app", "show", "crm", "--utc"]).await.ok();
    assert!(
        shown.starts_with("crm: CRM\n  x\ncreated ") && shown.contains("Z\n0 functions"),
        "{shown}"
    );
    let error = folder.run(&["app", "create", "crm"]).await.refused();
    assert!(error.contains("slug"), "{error}");
    let error = folder.run(&["app", "delete", "crm"]).await.refused();
    assert!(error.contains("--yes"), "{error}");
    let said = folder.run(&["app", "delete", "crm", "--yes"]).await.ok();
    assert_eq!(said, "deleted app crm with 0 functions\n");
    server.stop().await;
}

#[tokio::test]
async fn a_secret_goes_in_without_being_seen_and_never_comes_out() {
    let server = Server::start().await;
    server.api.app("crm").await;
    let folder = &server.folder;
    let set = ["secret", "set", "API_KEY"];
    let said = piped(folder, &set, "first\n").await;
    assert_eq!(
        (said.stderr.as_str(), said.stdout.as_str()),
        ("", "set API_KEY of the site\n")
    );
    let value = async |query: &str| {
        let path = format!("/api/secrets/API_KEY/{query}");
        server.api.get(&path).await.ok()["data"]["value"].clone()
    };
    assert_eq!(value("").await, "first");
    folder.write("value", "second\n");
    let said = folder
        .run(&[&set[..], &["--file", "value", "--app", "crm"]].concat())
        .await
        .ok();
    assert_eq!(said, "set API_KEY of app crm\n");
    let said = folder
        .run(&[&set[..], &["third", "--app", "crm"]].concat())
        .await;
    assert!(said.stderr.contains("list of processes"), "{said:?}");
    assert_eq!(said.ok(), "changed API_KEY of app crm\n");
    assert_eq!(
        (value("").await, value("?app=crm").await),
        (json!("first"), json!("third"))
    );
    let said = piped(
        folder,
        &["secret", "set", "DB", "--object"],
        "{\"host\":\"x\"}",
    )
    .await;
    said.ok();
    let error = piped(folder, &["secret", "set", "DB", "--object"], "hunter2")
        .await
        .refused();
    assert!(
        error.contains("is not JSON") && !error.contains("hunter2"),
        "{error}"
    );
    let error = piped(folder, &set, "").await.refused();
    assert!(error.contains("is empty"), "{error}");
    what_is_in_stays_in(&server).await;
    server.stop().await;
}

/// Lists name no value, and what is unset is gone.
async fn what_is_in_stays_in(server: &Server) {
    let folder = &server.folder;
    let listed = folder.run(&["secret", "list", "--app", "crm"]).await.ok();
    for text in ["KEY", "API_KEY  app crm", "DB       the site"] {
        assert!(listed.contains(text), "{text}: {listed}");
    }
    for said in [
        &listed,
        &folder.run(&["secret", "list", "--json"]).await.ok(),
    ] {
        assert!(
            !["first", "third", "host"]
                .iter()
                .any(|value| said.contains(value)),
            "{said}"
        );
    }
    let error = folder
        .run(&["secret", "unset", "APIKEY", "--app", "crm"])
        .await
        .refused();
    assert!(
        error.contains("app `crm` has no secret `APIKEY`; did you mean `API_KEY`?"),
        "{error}"
    );
    assert_eq!(
        folder.run(&["secret", "unset", "API_KEY"]).await.ok(),
        "deleted API_KEY\n"
    );
    server
        .api
        .get("/api/secrets/API_KEY/")
        .await
        .refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn subscriptions_are_made_changed_and_ended() {
    let server = Server::start().await;
    server.api.app("gate").await;
    server
        .api
        .function("gate", "check", AGREE, &json!({}))
        .await;
    let folder = &server.folder;
    let subscribe = ["events", "subscribe", "pre_user_create", "check"];
    let said = folder.run(&subscribe).await.ok();
    assert_eq!(said, "check subscribed to PRE_USER_CREATE\n");
    let said = folder.run(&subscribe).await.ok();
    assert_eq!(said, "check is already subscribed to PRE_USER_CREATE\n");
    let options = [
        "--priority",
        "3",
        "--timeout",
        "2.5",
        "--on-timeout",
        "allow",
    ];
    let said = folder.run(&[&subscribe[..], &options].concat()).await.ok();
    assert!(
        said.starts_with("check: changed the subscription to PRE_USER_CREATE ("),
        "{said}"
    );
    let off = folder
        .run(&[&subscribe[..], &["--active", "false"]].concat())
        .await;
    assert!(off.stderr.contains("switched off"), "{off:?}");
    let shown = folder
        .run(&["function", "show", "check", "--json"])
        .await
        .json();
    assert_eq!(
        shown["subscriptions"][0]["options"]["priority"], 3,
        "{shown}"
    );
    let error = folder
        .run(&["events", "subscribe", "PRE_USER_CREATE", "chek"])
        .await
        .refused();
    assert!(error.contains("did you mean `check`?"), "{error}");
    let unsubscribe = ["events", "unsubscribe", "PRE_USER_CREATE", "check"];
    assert_eq!(
        folder.run(&unsubscribe).await.ok(),
        "check unsubscribed from PRE_USER_CREATE\n"
    );
    let error = folder.run(&unsubscribe).await.refused();
    assert!(error.contains("was not subscribed"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn sites_and_superusers_are_made_while_the_server_runs() {
    let server = Server::start().await;
    let folder = &server.folder;
    let said = folder
        .run(&["site", "create", "acme", "--domain", "Acme.Test."])
        .await
        .ok();
    assert_eq!(said, "created site acme\nhost names: acme.test\n");
    // At once, and with a password that no list of processes shows.
    let create = [
        "admin",
        "create",
        "--site",
        "acme",
        "--email",
        "boss@acme.test",
    ];
    let args = [&create[..], &["--password-stdin"]].concat();
    let said = piped(folder, &args, "correct horse battery\n").await;
    assert_eq!(said.stderr, "", "{said:?}");
    assert_eq!(said.ok(), "created superuser boss@acme.test in site acme\n");
    let acme = server.api.at("acme.test");
    bearer(
        acme.sign_in("boss@acme.test", "correct horse battery")
            .await,
    );
    host_names_come_and_go(&server).await;
    every_command_works_in_a_site(&server, &acme).await;
    server.stop().await;
}

async fn host_names_come_and_go(server: &Server) {
    let folder = &server.folder;
    let said = folder
        .run(&["site", "add-domain", "acme", "www.acme.test"])
        .await
        .ok();
    assert!(said.contains("acme.test, www.acme.test"), "{said}");
    for again in ["www.acme.test", "WWW.acme.test."] {
        let said = folder
            .run(&["site", "add-domain", "acme", again])
            .await
            .ok();
        assert!(said.contains("leads to the site acme already"), "{said}");
        assert!(!said.contains("changed"), "{said}");
    }
    bearer(
        server
            .api
            .at("www.acme.test")
            .sign_in("boss@acme.test", "correct horse battery")
            .await,
    );
    folder
        .run(&["site", "remove-domain", "acme", "www.acme.test"])
        .await
        .ok();
    let error = folder
        .run(&["site", "remove-domain", "acme", "www.acme.test"])
        .await
        .refused();
    assert!(error.contains("www.acme.test"), "{error}");
    for bad in ["http://x.test", "a b", "x:80", ""] {
        let error = folder
            .run(&["site", "add-domain", "acme", bad])
            .await
            .refused();
        assert!(error.contains("host name"), "{bad}: {error}");
    }
    let error = folder
        .run(&["site", "add-domain", "acmee", "x.test"])
        .await
        .refused();
    assert!(error.contains("did you mean `acme`?"), "{error}");
    folder.run(&["site", "create", "other"]).await.ok();
    let error = folder
        .run(&["site", "add-domain", "other", "acme.test"])
        .await
        .refused();
    assert!(error.contains("site"), "{error}");
    let listed = folder.run(&["site", "list"]).await.ok();
    assert!(listed.contains("acme     acme.test\n"), "{listed}");
}

async fn every_command_works_in_a_site(server: &Server, acme: &Api) {
    let folder = &server.folder;
    let said = folder
        .run(&["app", "create", "crm", "--site", "acme"])
        .await
        .ok();
    assert_eq!(said, "created app crm\n");
    let ours = folder.run(&["app", "list", "--json"]).await.json();
    assert_eq!(ours, json!([]));
    let theirs = folder
        .run(&["app", "list", "--json", "--site", "acme"])
        .await
        .json();
    assert_eq!(theirs[0]["slug"], "crm");
    let error = folder
        .run(&["app", "list", "--site", "other"])
        .await
        .refused();
    assert!(
        error.contains("no host name leads to the site other"),
        "{error}"
    );
    folder
        .run(&["site", "add-domain", "other", "other.test"])
        .await
        .ok();
    let error = folder
        .run(&["app", "list", "--site", "other"])
        .await
        .refused();
    assert!(
        error.contains("tollgate admin create --site other"),
        "{error}"
    );
    let reset = [
        "admin",
        "reset-password",
        "--site",
        "acme",
        "--email",
        "boss@acme.test",
    ];
    let said = folder.run(&reset).await.ok();
    let made = said
        .lines()
        .find_map(|line| line.strip_prefix("password: "))
        .unwrap();
    bearer(acme.sign_in("boss@acme.test", made).await);
    let egress = [
        "admin",
        "egress",
        "--site",
        "acme",
        "--allow",
        "api.example.com",
        "--json",
    ];
    assert_eq!(
        folder.run(&egress).await.json()["hosts"],
        json!(["api.example.com"])
    );
}

#[tokio::test]
async fn a_password_on_the_command_line_is_warned_of() {
    let folder = Arc::new(Folder::new());
    let create = ["admin", "create", "--email", "a@b.test"];
    Server::start_in(&folder, &[], &[]).await.stop().await;
    let said = folder
        .run(&[&create[..], &["--password", "correct horse battery"]].concat())
        .await;
    assert!(said.stderr.contains("--password-stdin"), "{said:?}");
    said.ok();
    let both = [&create[..], &["--password", "x", "--password-stdin"]].concat();
    assert_eq!(folder.run(&both).await.code, Some(2));
    let empty = piped(
        &folder,
        &[&create[..], &["--password-stdin"]].concat(),
        "\n",
    )
    .await;
    assert!(empty.refused().contains("no password"));
    let key = [
        "events",
        "list",
        "--url",
        "http://127.0.0.1:1",
        "--api-key",
        "k",
    ];
    let said = folder.run(&key).await;
    assert!(
        said.stderr.contains("TOLLGATE_API_KEY does not"),
        "{said:?}"
    );
}

/// Answers what a command asks for on a terminal of its own, and prints what was to be seen there.
const ON_A_TERMINAL: &str = r"
import os, pty, sys, termios

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
for question in (b'Password: ', b'Again: '):
    while question not in seen:
        seen += os.read(terminal, 4096)
    # A person is slower than the moment between the question and the end of the echo.
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        pass
    os.write(terminal, b'correct horse battery\n')
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    seen += more
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[tokio::test]
async fn a_terminal_asks_for_a_password_and_does_not_show_it() {
    let server = Server::start().await;
    let folder = &server.folder;
    let mut python = tokio::process::Command::new("python3");
    python.args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_tollgate")]);
    python.args([
        "admin",
        "create",
        "--email",
        "second@example.com",
        "--password-stdin",
    ]);
    let output = python.current_dir(folder.path()).output();
    let output = crate::support::soon("the terminal's end", output)
        .await
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && seen.contains("created superuser"),
        "{output:?}"
    );
    assert!(!seen.contains("horse"), "{seen}");
    bearer(
        server
            .api
            .sign_in("second@example.com", "correct horse battery")
            .await,
    );
    server.stop().await;
}

#[tokio::test]
async fn json_is_all_that_stands_on_standard_output() {
    let server = Server::start().await;
    server.api.app("gate").await;
    let check = server
        .api
        .function("gate", "check", AGREE, &json!({}))
        .await;
    server.api.subscribe("PRE_USER_CREATE", check).await;
    server.api.create_user("ann").await.ok();
    let folder = &server.folder;
    folder.write("check.py", AGREE);
    for args in [
        &["app", "list"][..],
        &["app", "show", "gate"],
        &["function", "list"],
        &["function", "show", "check"],
        &["function", "versions", "check"],
        &["function", "deploy", "check.py", "--app", "gate"],
        &["function", "run", "check", "--app", "gate"],
        &["function", "run", "check.py"],
        &["function", "rollback", "check", "--to", "1"],
        &["secret", "list"],
        &["events", "list"],
        &["events", "explain", "PRE_USER_CREATE"],
        &["events", "subscribe", "PRE_USER_CREATE", "check"],
        &[
            "events",
            "declare",
            "POST_X",
            "--app",
            "gate",
            "--schema",
            r#"{"type":"object"}"#,
        ],
        &["events", "undeclare", "POST_X", "--app", "gate"],
        &["invocations", "list"],
        &["invocations", "show", "1"],
        &["invocations", "replay", "1"],
        &["dead-letters", "list"],
        &["site", "list"],
        &["admin", "api-key"],
        &["admin", "egress"],
        &["config", "show"],
        &["doctor"],
    ] {
        let said = folder.run(&[args, &["--json"]].concat()).await;
        let value: Result<Value, _> = serde_json::from_str(&said.stdout);
        assert!(value.is_ok() && said.code == Some(0), "{args:?}: {said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn event_types_are_declared_listed_changed_and_deleted() {
    let server = Server::start().await;
    server.api.app("shop").await;
    let folder = &server.folder;
    folder.write("order.json", r#"{"type": "object", "required": ["id"]}"#);
    folder.write("sample.json", r#"{ "id":1.50 }"#);
    let declare = |more: &[&'static str]| {
        let words = [
            "events",
            "declare",
            "POST_ORDER_PLACED",
            "--app",
            "shop",
            "--schema",
            "order.json",
        ];
        [&words, more].concat()
    };
    let refused = folder.run(&declare(&[])).await.refused();
    assert!(
        refused.contains("sample") && refused.contains("id"),
        "{refused}"
    );
    let more = [
        "--sample",
        "sample.json",
        "--description",
        "After an order was placed.",
    ];
    let said = folder.run(&declare(&more)).await.ok();
    assert_eq!(
        said,
        "POST_ORDER_PLACED declared; functions of shop publish it\n"
    );
    let said = folder
        .run(&declare(&["--description", "After an order."]))
        .await
        .ok();
    assert_eq!(said, "POST_ORDER_PLACED: changed\n");
    let listed = folder.run(&["events", "list"]).await.ok();
    let last = listed.lines().last().unwrap();
    let words: Vec<_> = last.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "POST_ORDER_PLACED",
            "shop",
            "0",
            "subscribers",
            "After",
            "an",
            "order."
        ]
    );
    let explained = folder
        .run(&["events", "explain", "post_order_placed"])
        .await;
    assert!(
        explained.stderr.contains("no function subscribes"),
        "{explained:?}"
    );
    let wrong = ["events", "undeclare", "POST_ORDER_PLACD", "--app", "shop"];
    let wrong = folder.run(&wrong).await.refused();
    assert!(wrong.contains("POST_ORDER_PLACED"), "{wrong}");
    let gone = ["events", "undeclare", "POST_ORDER_PLACED", "--app", "shop"];
    let said = folder.run(&gone).await.ok();
    assert_eq!(said, "POST_ORDER_PLACED is no event type any more\n");
    server.stop().await;
}

#[tokio::test]
async fn completions_and_manual_pages_know_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.run(&["completions", shell]).await.ok();
        for word in ["dead-letters", "rollback", "add-domain", "--create-app"] {
            let word = if shell == "fish" {
                word.trim_start_matches("--")
            } else {
                word
            };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    folder.run(&["man", "pages"]).await.ok();
    let page =
        std::fs::read_to_string(folder.path().join("pages/tollgate-function-deploy.1")).unwrap();
    assert!(
        page.contains("create\\-app") && page.contains("tollgate function deploy"),
        "{page}"
    );
    for name in [
        "tollgate",
        "tollgate-serve",
        "tollgate-site-create",
        "tollgate-dead-letters-redrive",
    ] {
        assert!(
            folder.path().join(format!("pages/{name}.1")).exists(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn times_are_local_unless_asked_otherwise_and_colours_are_for_terminals() {
    let server = Server::start().await;
    server.api.app("gate").await;
    server
        .api
        .function("gate", "check", AGREE, &json!({}))
        .await;
    server.api.execute("gate", "check", &json!({})).await.ok();
    let folder = &server.folder;
    let list = ["invocations", "list"];
    let in_zone = async |zone: &str, args: &[&str]| {
        let said = folder
            .run_with(&[&list[..], args].concat(), &[("TZ", zone)])
            .await
            .ok();
        let line = said.lines().nth(1).unwrap().to_owned();
        line.split("  ").next().unwrap().to_owned()
    };
    let utc = in_zone("Asia/Kathmandu", &["--utc"]).await;
    let utc: u32 = utc.strip_suffix('Z').unwrap()[11..13].parse().unwrap();
    let local: u32 = in_zone("Etc/GMT-5", &[]).await[11..13].parse().unwrap();
    assert_eq!((utc + 5) % 24, local);
    let plain = folder.run(&list).await.ok();
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let colours = folder
        .run(&[&["--color", "always"], &list[..]].concat())
        .await
        .ok();
    assert!(colours.contains("\x1b["), "{colours:?}");
    let forced = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    let none = folder.run_with(&list, &forced).await.ok();
    assert!(!none.contains('\x1b'), "{none:?}");
    server.stop().await;
}
