//! Text from outside reaches a terminal only as text: no command lets a control pass, and none shows a line that is
//! not its own at the margin.

use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::sync::Arc;

/// Escape sequences, C1, directions, things without width, ends of lines.
const NASTY: &str = "\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}\u{200b}\u{2066}\r\n#999 forged v1 - succeeded\x08\x7f\t\u{2028}";
const FORGED: &str = "#999 forged";

/// What a terminal would act upon. With colours on, the program's own are left out.
fn acting(text: &str) -> Vec<char> {
    let mut rest = text.to_owned();
    while let Some(at) = rest.find("\x1b[") {
        let end = rest[at + 2..].find(|letter: char| !letter.is_ascii_digit() && letter != ';');
        match end {
            Some(end) if rest[at + 2 + end..].starts_with('m') => {
                rest.replace_range(at..=at + 2 + end, "")
            }
            _ => break,
        }
    }
    let acts = |letter: &char| {
        (letter.is_control() && *letter != '\n')
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    rest.chars().filter(acts).collect()
}

#[track_caller]
fn is_harmless(what: &[&str], text: &str) {
    let found = acting(text);
    assert!(found.is_empty(), "{what:?}: {found:?} in {text:?}");
    let forged = text.lines().any(|line| line.starts_with(FORGED));
    assert!(!forged, "{what:?}: a forged line in {text}");
}

/// A function that says nasty things in every way, and a record of each.
async fn hostile_data(server: &Server) {
    let api = &server.api;
    let name = "app \u{1F600}";
    api.post(
        "/api/apps/",
        &json!({"name": name, "slug": "nasty", "description": "a\nb"}),
    )
    .await;
    let nasty = serde_json::to_string(NASTY).unwrap();
    let code = format!(
        "import json, sys\nNASTY = json.loads(r'''{nasty}''')\n\n\
         def main(params):\n    log(NASTY, level='warning')\n    print(NASTY)\n    sys.stderr.write(NASTY)\n    \
         if params.get('fail'):\n        raise ValueError(NASTY)\n    \
         if 'username' in params:\n        return {{'success': False, 'error': NASTY, 'errors': {{NASTY: NASTY}}}}\n    \
         return {{NASTY: NASTY}}\n"
    );
    let id = api
        .function("nasty", "says", &code, &json!({"max_attempts": 1}))
        .await;
    api.subscribe("PRE_USER_CREATE", id).await;
    api.execute("nasty", "says", &json!({})).await;
    api.execute("nasty", "says", &json!({"params": {"fail": true}}))
        .await;
    api.create_user("ann").await;
    let bad = api
        .function("nasty", "fails", &code, &json!({"max_attempts": 1}))
        .await;
    api.subscribe("POST_USER_DELETE", bad).await;
    server.folder.write("says.py", &code);
}

/// Commands about event types, with controls in what they are given.
const OF_TYPES: [&[&str]; 2] = [
    &[
        "events",
        "declare",
        "POST_X",
        "--app",
        "nasty",
        "--schema",
        r#"{"type":"\u001b[2J"}"#,
    ],
    &["events", "undeclare", "POST_\u{9b}31m", "--app", "nasty"],
];

#[tokio::test]
async fn no_command_passes_a_control_on() {
    let server = Server::start().await;
    hostile_data(&server).await;
    let folder = &server.folder;
    let commands: [&[&str]; 22] = [
        &["app", "list"],
        &["app", "show", "nasty"],
        &["function", "list"],
        &["function", "show", "says"],
        &["function", "show", "says", "--code"],
        &["function", "versions", "says"],
        &["function", "logs", "says"],
        &["function", "run", "says", "--app", "nasty"],
        &[
            "function",
            "run",
            "says",
            "--app",
            "nasty",
            "--params",
            r#"{"fail":true}"#,
        ],
        &["function", "run", "says.py"],
        &["function", "run", "says.py", "--params", r#"{"fail":true}"#],
        &["function", "deploy", "says.py", "--app", "nasty"],
        &["events", "list"],
        &["events", "explain", "PRE_USER_CREATE"],
        &["invocations", "list"],
        &["invocations", "show", "1"],
        &["invocations", "show", "2"],
        &["invocations", "show", "3"],
        &["invocations", "replay", "1"],
        &["invocations", "replay", "2"],
        &["dead-letters", "list"],
        &["secret", "list"],
    ];
    for args in commands.iter().copied().chain(OF_TYPES) {
        for extra in [&[][..], &["--color", "always"]] {
            let said = folder.run(&[args, extra].concat()).await;
            assert_ne!(said.code, Some(2), "{args:?}: {said:?}");
            is_harmless(args, &said.stdout);
            is_harmless(args, &said.stderr);
        }
    }
    let shown = folder.run(&["invocations", "show", "1"]).await.ok();
    assert!(
        shown.contains("\\u{1b}[2J") && shown.contains("\\u{202e}"),
        "{shown}"
    );
    for args in [
        &["function", "logs", "says"][..],
        &["invocations", "show", "1"],
        &["function", "run", "says.py"],
        &["function", "run", "says", "--app", "nasty"],
    ] {
        let said = folder.run(&[args, &["--json"]].concat()).await.ok();
        is_harmless(args, &said);
        let values = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        let values: Vec<Value> = values.map(Result::unwrap).collect();
        let whole = serde_json::to_string(&values).unwrap();
        assert!(
            whole.contains(&serde_json::to_string(NASTY).unwrap()[1..20]),
            "{args:?}: {whole}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn arguments_and_settings_are_text_from_outside_too() {
    let server = Server::start().await;
    let folder = &server.folder;
    let commands: [&[&str]; 16] = [
        &["function", NASTY],
        &["function", "logs", "x", "--limit", NASTY],
        &["serve", "--role", NASTY],
        &["--nasty\x1b[31m"],
        &["app", "show", NASTY],
        &["app", "create", NASTY],
        &["function", "run", NASTY],
        &["function", "deploy", NASTY, "--app", "x"],
        &["function", "run", "x.py", "--event", NASTY],
        &["events", "explain", NASTY],
        &["invocations", "list", "--status", NASTY],
        &["invocations", "list", "--function", NASTY],
        &["site", "create", NASTY],
        &["site", "list", "--data-dir", NASTY],
        &["config", "show", "--config", NASTY],
        &["secret", "set", NASTY, "--file", NASTY],
    ];
    for args in commands {
        for extra in [&[][..], &["--color", "always"]] {
            let said = folder.run(&[extra, args].concat()).await;
            is_harmless(args, &said.stdout);
            is_harmless(args, &said.stderr);
        }
    }
    for variable in [("TOLLGATE_LISTEN", NASTY), ("TOLLGATE_NASTY\x1b[31m", "x")] {
        let said = folder.run_with(&["config", "show"], &[variable]).await;
        assert!(said.stderr.contains(&variable.0[..14]), "{said:?}");
        is_harmless(&["config show"], &said.stderr);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_lies_cannot_act_on_the_terminal() {
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let folder = Folder::new();
    let liar = MockServer::start().await;
    let body = json!({
        "success": false, "code": NASTY, "message": NASTY, "total": 1,
        "data": [{"slug": NASTY, "id": 1, "name": NASTY, "updated_at": NASTY, "state": NASTY, "event": NASTY,
            "function_slug": NASTY, "verdict": {"summary": NASTY}, "error": {"message": NASTY}}],
    });
    for status in [200, 400, 500] {
        liar.reset().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status).set_body_json(&body))
            .mount(&liar)
            .await;
        for args in [
            &["app", "list"][..],
            &["function", "list"],
            &["invocations", "list"],
            &["invocations", "show", "1"],
            &["dead-letters", "list"],
            &["events", "list"],
            &["secret", "list"],
        ] {
            let address = [
                ("TOLLGATE_URL", liar.uri()),
                ("TOLLGATE_API_KEY", "k".to_owned()),
            ];
            let address: Vec<_> = address
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let said = folder.run_with(args, &address).await;
            is_harmless(args, &said.stdout);
            is_harmless(args, &said.stderr);
        }
    }
}

#[tokio::test]
async fn the_servers_own_log_stays_in_its_lines() {
    let folder = Arc::new(Folder::new());
    for format in ["text", "json"] {
        let settings = [("TOLLGATE_LOG_FORMAT", format), ("TOLLGATE_LOG", "debug")];
        let server = Server::start_in(&folder, &[], &settings).await;
        server.api.get("/%1b%5d0;owned%07/%0a%23999%20forged").await;
        let request = server.api.request(reqwest::Method::GET, "/api/apps/");
        server
            .api
            .try_send(request.header("x-request-id", "a b"))
            .await
            .unwrap();
        let log = server.stderr.clone();
        server.stop().await;
        is_harmless(&["serve", format], &log.so_far());
    }
}
