//! Environment variables through the real program: at the top of a module, from the next call on, and in nobody's log.

use crate::support::folder::Folder;
use crate::support::server::Server;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tollgate_core::time::{Clock as _, SystemClock};

/// Nothing else of the tests holds them.
const CANARY: &str = "canary-77aa-in-a-variable";
const ROTATED: &str = "canary-88bb-in-a-variable";

/// Reads all at the top, where a library would, and says by what it was loaded.
const TOP: &str = "\
import os
from tollgate import PlatformError, log, sdk_client

PID = os.getpid()
ALL = {name: os.environ.get(name) for name in ('PLAIN', 'SECRET', 'BOTH', 'OF_APP')}
ASKED = sdk_client.secrets.get('KEY')['value']
try:
    sdk_client.users.get('ada')
except PlatformError as error:
    REFUSED = [error.status, str(error)]
print('loaded', ALL['SECRET'])

def main(params):
    log('have ' + str(os.environ.get('SECRET')))
    return {'pid': PID, 'all': ALL, 'same': ASKED == ALL['SECRET'], 'refused': REFUSED,
        'secret_length': len(ALL['SECRET'] or ''), 'block': os.path.exists('/proc/self/environ')
            and ALL['SECRET'].encode() in open('/proc/self/environ', 'rb').read()}
";

/// A PRE function that refuses with what it has, which is redacted, and when it was loaded.
const PRE: &str = "\
import os, time
LOADED = int(time.time() * 1e6)
MODE = os.environ['MODE']
SECRET = os.environ['SECRET']

def main(params):
    return {'success': False, 'error': f'{MODE} {len(SECRET)} {SECRET} loaded={LOADED}='}
";

async fn patch(server: &Server, path: &str, body: &Value) -> crate::support::api::Answer {
    let request = server.api.request(Method::PATCH, path).json(body);
    server.api.try_send(request).await.unwrap()
}

async fn set_secret(server: &Server, key: &str, value: &str) {
    let path = "/api/secrets/?app=shop";
    let body = json!({"key": key, "value": value});
    if server.api.post(path, &body).await.status == 409 {
        let path = format!("/api/secrets/{key}/?app=shop");
        patch(server, &path, &json!({"value": value})).await.ok();
    }
}

async fn call(server: &Server, function: &str) -> Value {
    server.api.execute("shop", function, &json!({})).await.ok()["data"].clone()
}

/// Neither the records of six runs, nor the function, nor the server's log has a value.
async fn assert_told_nobody(server: &Server, path: &str) {
    for id in 1..=6 {
        let record = server.api.invocation(id).await;
        assert!(!record["logs"].to_string().contains("canary-"), "{record}");
        assert!(record["logs"].to_string().contains("have ***"), "{record}");
    }
    let function = server.api.get(path).await.ok();
    assert_eq!(function["secret_env"], json!({"SECRET": "KEY"}));
    assert!(!function.to_string().contains("canary-"), "{function}");
    let said = server.stdout.so_far() + &server.stderr.so_far();
    assert!(!said.contains("canary-"), "{said}");
}

#[tokio::test]
async fn variables_are_there_at_the_top_of_a_module_and_every_change_reaches_the_next_call() {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_LOG", "debug,tollgate=trace")];
    let server = Server::start_in(&folder, &[], &settings).await;
    server.api.app("shop").await;
    set_secret(&server, "KEY", CANARY).await;
    let options = json!({"env": {"PLAIN": "one", "BOTH": "own"}, "secret_env": {"SECRET": "KEY"}});
    server.api.function("shop", "top", TOP, &options).await;
    let got = call(&server, "top").await;
    let all = json!({"PLAIN": "one", "SECRET": CANARY, "BOTH": "own", "OF_APP": null});
    assert_eq!(got["all"], all, "{got}");
    assert_eq!(
        (&got["same"], &got["block"]),
        (&json!(true), &json!(false)),
        "{got}"
    );
    assert_eq!(got["refused"][0], 403, "{got}");
    assert_eq!(
        call(&server, "top").await["pid"],
        got["pid"],
        "a warm call is one"
    );

    // The function's own.
    let path = "/api/apps/shop/functions/top/";
    let body = json!({"env": {"PLAIN": "two", "BOTH": "own"}});
    let changed = patch(&server, path, &body).await.ok();
    assert_eq!(
        (&changed["version"], &changed["env"]),
        (&json!(1), &body["env"])
    );
    let next = call(&server, "top").await;
    assert_eq!(next["all"]["PLAIN"], "two");
    // Its app's, which it hides.
    let body = json!({"env": {"OF_APP": "app", "BOTH": "app"}});
    patch(&server, "/api/apps/shop/", &body).await.ok();
    let next = call(&server, "top").await;
    assert_eq!(
        (&next["all"]["OF_APP"], &next["all"]["BOTH"]),
        (&json!("app"), &json!("own"))
    );
    // The secret behind one; another one changes nothing.
    set_secret(&server, "OTHER", "x").await;
    assert_eq!(call(&server, "top").await["pid"], next["pid"]);
    set_secret(&server, "KEY", ROTATED).await;
    let next = call(&server, "top").await;
    assert_eq!(
        (&next["all"]["SECRET"], &next["same"]),
        (&json!(ROTATED), &json!(true))
    );

    // A secret that is gone is no variable any more, and the failure names both.
    let gone = server.api.delete("/api/secrets/KEY/?app=shop").await;
    gone.ok();
    let failed = server.api.execute("shop", "top", &json!({})).await;
    let message = failed.refused(400, "FUNCTION_FAILED");
    assert!(
        message.contains("SECRET") && message.contains("'KEY'"),
        "{message}"
    );

    assert_told_nobody(&server, path).await;
    server.stop().await;
}

const PRE_PATH: &str = "/api/apps/shop/functions/pre/";

async fn assert_refused_without_its_mode(server: &Server) {
    // What does not load is refused, and the worker stays what it was.
    let refused = patch(server, PRE_PATH, &json!({"env": {}})).await;
    let message = refused.refused(400, "VALIDATION_ERROR");
    assert!(
        message.contains("does not load") && message.contains("MODE"),
        "{message}"
    );
}

#[tokio::test]
async fn a_pre_function_is_never_cold_nor_old_after_a_change_of_its_variables() {
    let server = Server::start().await;
    let api = &server.api;
    api.app("shop").await;
    set_secret(&server, "KEY", CANARY).await;
    let options = json!({"env": {"MODE": "one"}, "secret_env": {"SECRET": "KEY"}});
    let pre = api.function("shop", "pre", PRE, &options).await;
    api.subscribe("PRE_USER_CREATE", pre).await;
    let said = async || {
        let denied = api.create_user("ann").await;
        let message = denied.refused(400, "PRE_EVENT_DENIED").to_owned();
        assert!(
            message.contains(" ***") && !message.contains("canary-"),
            "{message}"
        );
        message
    };
    let long = format!("{} ***", CANARY.len());
    let first = said().await;
    assert!(first.contains(&format!("one {long}")), "{first}");
    let path = PRE_PATH;
    assert_refused_without_its_mode(&server).await;
    assert_eq!(said().await, first);
    patch(&server, "/api/apps/shop/", &json!({"env": {"MODE": "app"}}))
        .await
        .ok();
    assert_eq!(said().await, first, "it hides its app's");
    // Each change is loaded by the time that it is answered: the next call starts no process.
    let changes = [
        (path, json!({"env": {"MODE": "two"}}), "two"),
        (path, json!({"env": {}}), "app"),
        (
            "/api/apps/shop/",
            json!({"env": {"MODE": "three"}}),
            "three",
        ),
        (
            "/api/secrets/KEY/?app=shop",
            json!({"value": CANARY}),
            "three",
        ),
    ];
    let mut before = first;
    for (path, body, mode) in changes {
        patch(&server, path, &body).await.ok();
        let answered = SystemClock.now().as_micros();
        let next = said().await;
        assert!(next.contains(&format!("{mode} {long}")), "{next}");
        assert_ne!(next, before, "{path} {body}: the old worker was asked");
        let loaded = next
            .split("loaded=")
            .nth(1)
            .unwrap()
            .split('=')
            .next()
            .unwrap();
        let loaded: i64 = loaded.parse().unwrap();
        assert!(
            loaded < answered,
            "{path} {body}: a worker was started by the call"
        );
        before = next;
    }
    // An app's that such a function does not load with.
    let refused = patch(&server, "/api/apps/shop/", &json!({"env": {}})).await;
    refused.refused(400, "VALIDATION_ERROR");
    assert_eq!(said().await, before);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_variable_is_refused_by_its_name() {
    let server = Server::start().await;
    let api = &server.api;
    api.app("shop").await;
    let code = "def main(p): pass\n";
    let create = async |options: Value| {
        let mut body = json!({"name": "f", "slug": "f", "code": code});
        body.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        api.post("/api/apps/shop/functions/", &body).await
    };
    for (options, field) in [
        (json!({"env": {"PATH": "/"}}), "env.PATH"),
        (json!({"env": {"1A": ""}}), "env.1A"),
        (
            json!({"env": {"A": "x"}, "secret_env": {"A": "KEY"}}),
            "secret_env.A",
        ),
        (json!({"secret_env": {"A": "NONE"}}), "secret_env.A"),
        (json!({"env": {"A": "x".repeat(70_000)}}), "env"),
        (
            json!({"execution_mode": "proxy", "code": null, "webhook_url": "https://example.com/",
                "env": {"A": ""}}),
            "env",
        ),
    ] {
        let refused = create(options.clone()).await;
        refused.refused(400, "VALIDATION_ERROR");
        let fields: Vec<_> = refused.body["errors"].as_array().unwrap().iter().collect();
        assert!(
            fields.iter().any(|it| it["field"] == field),
            "{options}: {}",
            refused.body
        );
    }
    create(json!({"env": {"A": "1", "B": "2"}})).await.ok();
    let path = "/api/apps/shop/functions/f/";
    let refused = patch(&server, path, &json!({"env": {"A": null}})).await;
    refused.refused(400, "VALIDATION_ERROR");
    let merge = api.request(Method::PATCH, path);
    let merge = merge.header("content-type", "application/merge-patch+json");
    let merge = merge.body(json!({"env": {"A": null, "C": "3"}}).to_string());
    let merged = api.try_send(merge).await.unwrap().ok();
    assert_eq!(merged["env"], json!({"B": "2", "C": "3"}));
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_sets_variables_beside_those_that_are_there() {
    let server = Server::start().await;
    let folder = &server.folder;
    let code = "import os\nMODE = os.environ['MODE']\n\ndef main(p):\n    return [MODE, os.environ.get('TOKEN'), os.environ.get('OF_APP')]\n";
    let file = folder.write("mode.py", code);
    let file = file.to_str().unwrap();
    let local = [
        "function",
        "run",
        file,
        "--env",
        "MODE=here",
        "--secret",
        "K=v",
        "--secret-env",
        "TOKEN=K",
    ];
    let printed = folder.run(&local).await.json();
    assert_eq!(printed, json!(["here", "v", null]));
    let refused = folder
        .run(&["function", "run", file, "--env", "PATH=x"])
        .await
        .refused();
    assert!(refused.contains("PATH"), "{refused}");

    server.api.app("shop").await;
    set_secret(&server, "K", "of the app").await;
    let deploy = ["function", "deploy", file, "--app", "shop"];
    let with = |more: &[&'static str]| [&deploy[..], more].concat();
    folder
        .run(&with(&["--env", "MODE=a=b", "--env", "X=1"]))
        .await
        .ok();
    folder
        .run(&with(&["--secret-env", "TOKEN=K", "--unset-env", "X"]))
        .await
        .ok();
    folder
        .run(&[
            "app",
            "update",
            "shop",
            "--env",
            "OF_APP=yes",
            "--name",
            "Shop",
        ])
        .await
        .ok();
    let got = server.api.get("/api/apps/shop/functions/mode/").await.ok();
    assert_eq!(got["env"], json!({"MODE": "a=b"}));
    assert_eq!(got["secret_env"], json!({"TOKEN": "K"}));
    let result = call(&server, "mode").await;
    assert_eq!(result, json!(["a=b", "of the app", "yes"]));
    let again = folder.run(&with(&["--env", "MODE=a=b"])).await.ok();
    assert!(again.contains("unchanged"), "{again}");
    folder.run(&with(&["--unset-env", "NONE"])).await.refused();
    server.stop().await;
}
