//! Secrets through the real program: sealed on disk, told to functions, and in nobody's log.

use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Nothing else of the tests holds it.
const CANARY: &str = "canary-5e1f-of-an-app";
const SHARED: &str = "canary-90ab-of-the-site";

/// Does with a secret everything that one should not do, except to return it.
const CARELESS: &str = "\
import logging, sys
KEPT = {}

def main(params, user_data, sdk_client):
    if params['how'] == 'later':
        print('kept', KEPT['value'])
        return {'length': len(KEPT['value'])}
    value = KEPT['value'] = sdk_client.secrets.get('TOKEN')['value']
    print('a', value, 'b')
    print(repr({'x': value}), file=sys.stderr)
    log(value)
    logging.warning('%s', value)
    for secret in sdk_client.secrets.list(keys=['SHARED'])['data']:
        print(secret)
    if params['how'] == 'raise':
        raise ValueError('not accepted: ' + value)
    if params['how'] == 'die':
        import os
        os._exit(3)
    if params['how'] == 'refuse':
        return {'success': False, 'error': 'bad token ' + value, 'errors': {'email': [value]}}
    return {'length': len(value)}
";

/// Refuses with the secret as its reason; then it is the event that shows it.
const PRE: &str = "\
def main(params, user_data, sdk_client):
    value = sdk_client.secrets.get('TOKEN')['value']
    return {'success': False, 'error': 'refused by ' + value}
";

fn assert_in_no_file(folder: &Path, canary: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_in_no_file(&path, canary);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes
                .windows(canary.len())
                .any(|it| it == canary.as_bytes());
            assert!(!found, "{canary} stands in {}", path.display());
        }
    }
}

#[track_caller]
fn assert_clean(what: &Value) {
    let text = what.to_string();
    assert!(!text.contains("canary-"), "{text}");
}

async fn with_secrets(server: &Server) {
    let api = &server.api;
    api.app("shop").await;
    for (path, key, value) in [
        ("/api/secrets/?app=shop", "TOKEN", CANARY),
        ("/api/secrets/", "SHARED", SHARED),
    ] {
        let body = json!({"key": key, "value": value, "tags": ["t"]});
        assert_clean(&api.post(path, &body).await.ok());
    }
}

#[tokio::test]
async fn a_secret_reaches_its_function_and_nothing_else() {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_LOG", "debug,tollgate=trace")];
    let server = Server::start_in(&folder, &[], &settings).await;
    with_secrets(&server).await;
    let api = &server.api;
    api.function("shop", "careless", CARELESS, &json!({})).await;
    let run = async |how: &str| {
        api.execute("shop", "careless", &json!({"params": {"how": how}}))
            .await
    };
    let good = run("return").await.ok();
    assert_eq!(good["data"]["length"], CANARY.len());
    assert_clean(&good);
    let id = good["invocation"]["id"].as_i64().unwrap();
    let record = api.invocation(id).await;
    let logs = record["logs"].to_string();
    assert!(
        logs.contains("a *** b") && logs.contains("'x': '***'"),
        "{logs}"
    );
    assert!(record["log_count"].as_u64().unwrap() >= 5, "{record}");
    assert_clean(&record);
    // What the module kept is not told again, and hidden all the same.
    let later = run("later").await.ok();
    assert_eq!(later["data"]["length"], CANARY.len());
    assert_clean(&later);
    for how in ["raise", "die"] {
        let failed = run(how).await;
        let message = failed.refused(400, "FUNCTION_FAILED");
        assert!(
            how != "raise" || message.contains("not accepted: ***"),
            "{message}"
        );
        assert_clean(&failed.body);
    }
    let refused = run("refuse").await.ok();
    assert_eq!(refused["data"]["error"], "bad token ***", "{refused}");
    assert_clean(&refused);

    let pre = api.function("shop", "pre", PRE, &json!({})).await;
    api.subscribe("PRE_USER_CREATE", pre).await;
    let denied = api.create_user("ann").await;
    let message = denied.refused(400, "PRE_EVENT_DENIED");
    assert!(message.contains("refused by ***"), "{message}");
    assert_clean(&denied.body);

    for path in [
        "/api/secrets/?app=shop",
        "/api/secrets/",
        "/api/invocations/?limit=100",
        "/api/invocations/?has_error=true",
        "/api/dead-letters/",
        "/api/openapi.json",
        "/metrics",
    ] {
        assert_clean(&api.get(path).await.ok());
    }
    let got = api.get("/api/secrets/TOKEN/?app=shop").await.ok();
    assert_eq!(got["data"]["value"], CANARY);
    let said = server.stdout.so_far() + &server.stderr.so_far();
    assert!(!said.contains("canary-"), "{said}");
    assert_in_no_file(&folder.data(), CANARY);
    server.stop().await;
    assert_in_no_file(folder.path(), CANARY);
    assert_in_no_file(folder.path(), SHARED);
}

#[tokio::test]
async fn a_server_with_another_key_does_not_start() {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[]).await;
    with_secrets(&server).await;
    server.stop().await;
    let file = folder.data().join("secrets.key");
    let key = std::fs::read_to_string(&file).unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // The file's key may come from the environment instead; another one is refused.
    std::fs::remove_file(&file).unwrap();
    let same = [("TOLLGATE_SECRETS_KEY", key.as_str())];
    let server = Server::start_in(&folder, &[], &same).await;
    let got = server.api.get("/api/secrets/TOKEN/?app=shop").await.ok();
    assert_eq!(got["data"]["value"], CANARY);
    server.stop().await;
    assert!(!file.exists(), "a key that is not needed was made");
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let other = "f".repeat(64);
    for (value, reason) in [
        (other.as_str(), "not this database's"),
        ("abc", "64 hexadecimal"),
    ] {
        let settings = [("TOLLGATE_SECRETS_KEY", value)];
        let error = folder.run_with(&serve, &settings).await.refused();
        assert!(
            error.contains(reason) && error.contains("TOLLGATE_SECRETS_KEY"),
            "{error}"
        );
        assert!(!error.contains(value), "{error}");
    }
    let shown = folder.run_with(&["config", "show"], &same).await.ok();
    assert!(shown.contains("secrets_key = \"********\""), "{shown}");
    assert!(!shown.contains(key.trim()), "{shown}");
    std::fs::write(&file, "damaged").unwrap();
    let error = folder.run(&serve).await.refused();
    assert!(error.contains("secrets.key is not a key"), "{error}");
}
