//! The official Python client, unmodified, against the real program.
//!
//! `TEST_CLIENT_PYTHON` names a Python that has it; otherwise `python3` is tried.

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::{skipped, soon};
use serde_json::json;
use std::sync::Arc;
use tokio::process::Command;

const PASSWORD: &str = "correct horse";
const BROKEN: &str = "def main(params):\n    raise ValueError('it broke')\n";
const DOUBLE: &str = "def main(params):\n    return {'doubled': params['number'] * 2}\n";

/// A Python with the client; none, loudly, where there is none.
async fn python() -> Option<String> {
    let python = std::env::var("TEST_CLIENT_PYTHON").unwrap_or("python3".to_owned());
    let question = "import taruvi; assert taruvi.__version__ == '0.2.3', taruvi.__version__";
    let asked = Command::new(&python).args(["-c", question]).output().await;
    match asked {
        Ok(output) if output.status.success() => Some(python),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            skipped(&format!(
                "the official client: {python} has no taruvi 0.2.3: {why}"
            ));
            None
        }
        Err(error) => {
            skipped(&format!(
                "the official client: {python} cannot be run: {error}"
            ));
            None
        }
    }
}

#[tokio::test]
async fn the_official_client_works_unmodified() {
    let Some(python) = python().await else { return };
    let settings = [("TOLLGATE_ADMIN_PASSWORD", PASSWORD)];
    let server = Server::start_in(&Arc::new(Folder::new()), &["--demo"], &settings).await;
    server
        .api
        .function("user-management", "double", DOUBLE, &json!({}))
        .await;
    server
        .api
        .function("user-management", "broken", BROKEN, &json!({}))
        .await;
    for (path, body) in [
        (
            "/api/secrets/?app=user-management",
            json!({"key": "TOKEN", "value": "sk_own", "tags": ["payment"], "secret_type": "api_key"}),
        ),
        (
            "/api/secrets/",
            json!({"key": "SHARED", "value": {"user": "u", "password": "p"}}),
        ),
    ] {
        server.api.post(path, &body).await.ok();
    }
    let key = server.folder.run(&["admin", "api-key"]).await.ok();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official_client.py");
    let mut client = Command::new(python);
    client.args([
        script,
        &server.api.url,
        "admin@example.com",
        PASSWORD,
        key.trim(),
    ]);
    // Its way to use plain HTTP.
    client
        .env("TARUVI_TEST_MODE", "true")
        .env("NO_PROXY", "127.0.0.1");
    let output = soon("the client's end", client.output()).await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
    server.stop().await;
}
