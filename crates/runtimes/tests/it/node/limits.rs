//! What happens at a limit, and to a worker that ends.

use super::{body, once};
use crate::support::{failure, node, node_function, node_function_with, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::limits;
use tollgate_core::tasks::FailureKind;

fn with_memory(memory_mb: u32) -> FunctionOptions {
    FunctionOptions {
        memory_mb: Some(memory_mb),
        ..FunctionOptions::default()
    }
}

#[tokio::test]
async fn memory_within_and_beyond_the_heap_is_bounded() {
    let Some(node) = node() else { return };
    for hungry in [
        "const all = []; for (;;) all.push(new Array(10000).fill(1.5));",
        "const all = []; for (;;) { all.push(Buffer.alloc(1 << 20, 1)); await null; }",
        "new ArrayBuffer(2 ** 40);",
    ] {
        let code =
            format!("export default async (p) => {{ if (p.go) {{ {hungry} }} return 'well'; }}");
        let probe = node_function_with(&code, with_memory(128));
        let report = node
            .call_within(&probe, json!({"go": true}), Duration::from_secs(60))
            .await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{hungry}: {failed:?}");
        assert!(
            failed.message.contains("128 MiB of memory"),
            "{hungry}: {failed:?}"
        );
        assert_eq!(value(&node.call(&probe, json!({})).await), "well");
    }
}

#[tokio::test]
async fn an_endless_run_is_stopped_and_what_it_logged_is_kept() {
    let Some(node) = node() else { return };
    for endless in [
        "for (;;);",
        "await new Promise(() => {});",
        "for (;;) await null;",
    ] {
        let code = format!(
            "export default async () => {{ console.log('before'); process.stdout.write('half'); {endless} }}"
        );
        let probe = node_function(&code);
        node.call_within(&probe, json!({}), Duration::from_millis(1))
            .await;
        let report = node
            .call_within(&probe, json!({}), Duration::from_millis(500))
            .await;
        assert_eq!(
            failure(&report).kind,
            FailureKind::Timeout,
            "{endless}: {report:?}"
        );
        if !report.worker.is_empty() {
            let said: Vec<_> = report
                .logs
                .iter()
                .map(|line| line.message.as_str())
                .collect();
            assert_eq!(said, ["before", "half"], "{endless}");
        }
    }
}

#[tokio::test]
async fn output_beyond_the_limits_fails_the_call() {
    let Some(node) = node() else { return };
    let line = "console.log('x'.repeat(10000));";
    let endless = format!("for (;;) {line}");
    let caught = format!("for (;;) try {{ {line} }} catch {{ if (++params.n > 500) return 1; }}");
    for loud in [endless.as_str(), "for (;;) console.log();", caught.as_str()] {
        let report = body(&node, &format!("params.n = 0; {loud}")).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{loud}: {failed:?}");
        let bytes: usize = report.logs.iter().map(|line| line.message.len()).sum();
        assert!(bytes <= limits::LOG_BYTES + 256 && report.logs.len() <= limits::LOG_LINES + 1);
        assert!(
            report
                .logs
                .last()
                .unwrap()
                .message
                .contains("the rest was cut")
        );
    }
    let large = format!("return 'x'.repeat({});", limits::RESULT_BYTES);
    let report = body(&node, &large).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Limit);
    assert!(
        failed.message.contains("the limit is 1048576"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn limits_of_files_are_named() {
    let Some(node) = node() else { return };
    for (code, says) in [
        (
            "import fs from 'node:fs';\nexport default () => { for (;;) fs.openSync('/dev/null'); };",
            "too many files open",
        ),
        (
            "import fs from 'node:fs';\nexport default () => { const f = fs.openSync('big', 'w'); for (;;) fs.writeSync(f, Buffer.alloc(1 << 20, 1)); };",
            "limit of 64 MiB|scratch folder is full",
        ),
    ] {
        let report = once(&node, code).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{failed:?}");
        assert!(
            says.split('|').any(|one| failed.message.contains(one)),
            "{failed:?}"
        );
    }
}

#[tokio::test]
async fn a_crash_is_told_and_the_next_call_is_served() {
    let Some(node) = node() else { return };
    let code = "export default (p) => { if (p.go) { console.log('last words'); process.kill(process.pid, 'SIGSEGV'); for (;;); } return 1; }";
    let probe = node_function(code);
    assert_eq!(value(&node.call(&probe, json!({})).await), 1);
    let report = node.call(&probe, json!({"go": true})).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Crashed, "{failed:?}");
    assert!(failed.message.contains("SIGSEGV"), "{failed:?}");
    assert_eq!(report.logs[0].message, "last words");
    assert_eq!(value(&node.call(&probe, json!({})).await), 1);
}
