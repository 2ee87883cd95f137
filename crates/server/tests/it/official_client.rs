//! The official Python client, unmodified. Passed over where it is not installed.

use crate::app::TestApp;
use crate::connections::run;
use std::process::Command;
use tollgate_server::ServerConfig;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_works_unmodified() {
    let installed = Command::new(python())
        .args(["-c", "import taruvi"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        use std::io::Write as _;
        // Past the capture of test output: a skipped test must be seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: python3 has no `taruvi`; pip install it"
        );
        return;
    }
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    app.function(&root, "Broken").await;
    let running = run(&app, ServerConfig::default()).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official_client.py");
    let url = format!("http://{}", running.address);
    let output = tokio::task::spawn_blocking(move || {
        Command::new(python())
            .arg(script)
            .arg(url)
            .env("TARUVI_TEST_MODE", "true")
            .output()
    });
    let output = output.await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The interpreter that has the client: CI keeps one of its own.
fn python() -> String {
    std::env::var("TEST_CLIENT_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
