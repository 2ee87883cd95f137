//! The system runtime.

use crate::support::{call, executable, failure, value};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::functions::Source;
use tollgate_core::ports::runtime::{RunReport, Runtime as _};
use tollgate_core::tasks::FailureKind;
use tollgate_core::time::{Clock as _, SystemClock};
use tollgate_runtimes::SystemRuntime;

async fn run(slug: &str) -> RunReport {
    let mut runtime = SystemRuntime::new(Arc::new(SystemClock));
    runtime.register("echo", |call| async move {
        call.log("INFO", "echoing");
        let user = call
            .host
            .ask("users.get", &json!({"username": "ada"}))
            .await;
        Ok(json!([
            call.params["a"],
            call.params["__function__"]["slug"],
            user.unwrap()["id"]
        ]))
    });
    runtime.register("refuse", |_| async { Err("not today".to_owned()) });
    runtime.register("panic", |_| async { panic!("at the disco") });
    runtime.register("sleep", |_| std::future::pending());
    let executable = Arc::new(executable(slug, Source::System));
    let deadline = SystemClock.monotonic() + Duration::from_millis(200);
    runtime
        .run(call(&executable, &json!({"a": 1}), deadline))
        .await
}

#[tokio::test]
async fn registered_functions_run_and_fail_alone() {
    let report = run("echo").await;
    assert_eq!(value(&report), json!([1, "echo", 5]));
    assert_eq!(report.logs[0].message, "echoing");
    for (slug, kind, message) in [
        ("refuse", FailureKind::Exception, "not today"),
        (
            "panic",
            FailureKind::Exception,
            "The function panicked: at the disco",
        ),
        ("sleep", FailureKind::Timeout, "time limit"),
        ("absent", FailureKind::Unavailable, "`absent`"),
    ] {
        let report = run(slug).await;
        assert_eq!(failure(&report).kind, kind, "{slug}");
        assert!(
            failure(&report).message.contains(message),
            "{slug}: {:?}",
            failure(&report)
        );
    }
}
