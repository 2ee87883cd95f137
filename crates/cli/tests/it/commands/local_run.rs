//! `tollgate function run FILE`: as on the server, without one.

use crate::support::folder::Folder;
use crate::support::server::Lines;
use crate::support::soon;
use serde_json::{Value, json};

const SECRETS: &str = "\
def main(params, user_data, sdk_client):
    found = sdk_client.secrets.get('TOKEN')
    listed = sdk_client.secrets.list()
    return {
        'token': found['value'],
        'listed': [secret['key'] for secret in listed['data']],
        'user': user_data,
    }
";

#[tokio::test]
async fn secrets_and_user_come_from_the_command_line() {
    let folder = Folder::new();
    folder.write("secrets.py", SECRETS);
    folder.write(
        "secrets.env",
        "# comment\nTOKEN=of-file\nexport OTHER='a b' # why\n",
    );
    let run = ["function", "run", "secrets.py", "--json"];
    let env = [
        &run[..],
        &["--env-file", "secrets.env", "--user", r#"{"id": 7}"#],
    ]
    .concat();
    let said = folder.run(&env).await.json();
    assert_eq!(
        said["result"],
        json!({"token": "of-file", "listed": ["OTHER", "TOKEN"], "user": {"id": 7}})
    );
    let both = [&env[..6], &["--secret", "TOKEN=of=flag", "--user", "ann"]].concat();
    let said = folder.run(&both).await.json();
    assert_eq!(said["result"]["token"], "of=flag");
    for (args, warns) in [(&both, true), (&env, false)] {
        let said = folder.run(args).await;
        assert_eq!(said.stderr.contains("shell's history"), warns, "{said:?}");
    }
    assert_eq!(said["result"]["user"]["username"], "ann");
    let without = folder.run(&run).await;
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(
        without
            .stderr
            .contains("Secret 'TOKEN' not found; give it with --secret"),
        "{without:?}"
    );
    for (args, says) in [
        (["--secret", "TOKEN"], "use KEY=VALUE"),
        (["--secret", "=x"], "the key is missing"),
        (["--env-file", "none.env"], "cannot read none.env"),
        (["--env-file", "secrets.py"], "line 1"),
        (
            ["--event", "PRE_USER_CREAT"],
            "did you mean `PRE_USER_CREATE`?",
        ),
        (["--user", "[1]"], "--user must be a JSON object"),
        (["--timeout", "0"], "use 0.05 to 300 seconds"),
        (["--timeout", "0.01"], "use 0.05 to 300 seconds"),
        (["--timeout", "nan"], "use 0.05 to 300 seconds"),
        (["--timeout", "301"], "use 0.05 to 300 seconds"),
    ] {
        let error = folder.run(&[&run[..], &args].concat()).await.refused();
        assert!(error.contains(says), "{args:?}: {error}");
    }
}

#[tokio::test]
async fn flags_that_would_do_nothing_are_refused() {
    let folder = Folder::new();
    folder.write("check.py", "def main(params):\n    pass\n");
    for flag in [
        &["--app", "x"][..],
        &["--async"],
        &["--url", "http://x"],
        &["--site", "x"],
        &["--api-key", "k"],
    ] {
        let args = [&["function", "run", "check.py"], flag].concat();
        let error = folder.run(&args).await.refused();
        assert!(
            error.contains(flag[0]) && error.contains("has no effect"),
            "{error}"
        );
    }
    for flag in [
        &["--event", "PRE_USER_CREATE"][..],
        &["--user", "x"],
        &["--secret", "a=b"],
        &["--env-file", "x"],
        &["--egress"],
        &["--timeout", "1"],
    ] {
        let args = [&["function", "run", "check"], flag].concat();
        let error = folder.run(&args).await.refused();
        assert!(
            error.contains(flag[0]) && error.contains("has no effect"),
            "{error}"
        );
    }
    let error = folder.run(&["function", "run", "chek.py"]).await.refused();
    assert!(error.contains("did you mean `check.py`?"), "{error}");
}

/// Of the function's time nothing is taken by the start of its interpreter, and nobody else is blamed.
#[tokio::test]
async fn the_time_limit_begins_when_the_function_does() {
    let folder = Folder::new();
    folder.write("quick.py", "def main(params):\n    return 1\n");
    folder.write("slow.py", "def main(params):\n    while True: pass\n");
    let run = |file| ["function", "run", file, "--timeout", "0.05"];
    assert_eq!(folder.run(&run("quick.py")).await.ok(), "1\n");
    let error = folder.run(&run("slow.py")).await.refused();
    assert!(
        error.contains("ran longer than its time limit of 50ms"),
        "{error}"
    );
    assert!(!error.contains("caller"), "{error}");
}

#[tokio::test]
async fn logs_come_while_it_runs() {
    let folder = Folder::new();
    let code = "import time\n\ndef main(params):\n    log('first')\n    time.sleep(60)\n";
    folder.write("slow.py", code);
    let mut child = folder
        .command(&["function", "run", "slow.py"])
        .spawn()
        .unwrap();
    let mut out = Lines::of(child.stdout.take().unwrap());
    let line = out.line("first").await;
    assert_eq!(line, "    INFO    first");
    assert!(child.try_wait().unwrap().is_none(), "it has ended");
    child.start_kill().unwrap();
    soon("its end", child.wait()).await.unwrap();
    // Each line comes once.
    let code = "import time\n\ndef main(params):\n    for number in range(5):\n        print(f'line {number}')\n        time.sleep(0.06)\n    return 1\n";
    folder.write("steps.py", code);
    let said = folder.run(&["function", "run", "steps.py"]).await.ok();
    let lines: Vec<_> = said
        .lines()
        .map(|line| line.rsplit("  ").next().unwrap())
        .collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert!(lines[4].ends_with("line 4") && lines[5] == "1", "{said}");
}

#[tokio::test]
async fn a_failed_run_prints_its_traceback_and_fails() {
    let folder = Folder::new();
    folder.write(
        "raises.py",
        "def main(params):\n    log('soon')\n    raise ValueError('no luck')\n",
    );
    let said = folder.run(&["function", "run", "raises.py"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("soon"), "{said:?}");
    assert!(
        said.stderr.contains("line 3, in main") && said.stderr.contains("no luck"),
        "{said:?}"
    );
    let said = folder
        .run(&["function", "run", "raises.py", "--json"])
        .await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(told["error"]["kind"], "exception");
}

#[tokio::test]
async fn no_digit_is_lost_on_the_way_in_or_out() {
    let folder = Folder::new();
    folder.write(
        "echo.py",
        "def main(params):\n    params.pop('__function__')\n    assert params['n'] == 123456789012345678901234567890\n    return params\n",
    );
    let params = r#"{"n":123456789012345678901234567890,"m":-9007199254740993}"#;
    let run = ["function", "run", "echo.py", "--params", params];
    let said = folder.run(&run).await.ok();
    for digits in ["123456789012345678901234567890", "-9007199254740993"] {
        assert!(said.contains(digits), "{said}");
    }
    let said = folder.run(&[&run[..], &["--json"]].concat()).await.ok();
    assert!(
        said.contains("\"n\": 123456789012345678901234567890"),
        "{said}"
    );
    folder.write("params.json", &format!("\u{feff}{params}\n"));
    folder
        .run(&["function", "run", "echo.py", "--params", "params.json"])
        .await
        .ok();
}
