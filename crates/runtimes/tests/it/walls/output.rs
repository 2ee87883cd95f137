//! E14: output without end, answers without measure, descriptors without number.

use super::behind;
use crate::support::{failure, function, function_with, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

/// Descriptors of this process, which is the server here.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn output_without_end_is_cut_and_marked() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let neighbour = function("def main(p): return 'well'");
    value(&python.call(&neighbour, json!({})).await);
    for endless in [
        "print('x' * 1_000_000, end='')",
        "sys.stdout.buffer.write(b'\\xff\\xfe' * 500_000)",
        "sys.stderr.write('\\ud800' * 1_000_000)",
        "log('x' * 1_000_000)",
        "print()",
    ] {
        let code = format!(
            "import sys\ndef main(p):\n    for _ in range(20_000):\n        {endless}\n    return 1"
        );
        let (report, beside) = tokio::join!(python.once(&code), python.call(&neighbour, json!({})));
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Limit, "{endless}: {failed:?}");
        let kept: usize = report.logs.iter().map(|line| line.message.len()).sum();
        assert!(kept <= limits::LOG_BYTES + 256, "{endless}: {kept}");
        let last = &report.logs.last().unwrap().message;
        assert!(last.ends_with("the rest was cut."), "{endless}: {last}");
        assert_eq!(value(&beside), "well");
    }
}

#[tokio::test]
async fn what_goes_past_the_host_is_bounded_too() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let options = FunctionOptions {
        timeout_seconds: Some(20.0),
        ..FunctionOptions::default()
    };
    let code = "import os\ndef main(p):\n    block = b'x' * (1 << 20)\n    while True:\n        os.write(1, block)\n        os.write(2, block)";
    let probe = function_with(code, options);
    python.runtime.warm(&probe).await.unwrap();
    let report = python
        .call_within(&probe, json!({}), Duration::from_secs(20))
        .await;
    assert_eq!(failure(&report).kind, FailureKind::Limit);
    let kept: usize = report.logs.iter().map(|line| line.message.len()).sum();
    assert!(kept <= limits::LOG_BYTES + 256, "{kept}");
}

#[tokio::test]
async fn a_huge_result_is_a_limit() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    for (result, kind) in [
        ("'x' * 20_000_000", FailureKind::Limit),
        ("[0] * 2_000_000", FailureKind::Limit),
        ("'\\ud800' * 10", FailureKind::NotJson),
    ] {
        let report = python.once(&format!("def main(p): return {result}")).await;
        assert_eq!(failure(&report).kind, kind, "{result}");
    }
}

#[tokio::test]
async fn descriptors_end_with_the_workers_own() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    let before = descriptors();
    let code = "import errno, os\nkept = []\ndef main(p):\n    for way in (lambda: os.open('/dev/null', os.O_RDONLY), os.pipe, os.eventfd if hasattr(os, 'eventfd') else os.pipe):\n        try:\n            while True: kept.append(way(*([0] if way is getattr(os, 'eventfd', None) else [])))\n        except OSError as error:\n            if error.errno != errno.EMFILE: return [len(kept), error.strerror]\n    return [len(kept), 'too many']";
    let seen = value(&python.once(code).await);
    assert_eq!(seen[1], "too many");
    assert!(seen[0].as_u64().unwrap() <= limits::OPEN_FILES, "{seen}");
    let neighbour =
        "def main(p):\n    with open('a', 'w') as file: file.write('x')\n    return 'well'";
    assert_eq!(value(&python.once(neighbour).await), "well");
    // Other tests may run in this process; a leak would be of hundreds.
    assert!(
        descriptors() < before + 100,
        "{} after {before}",
        descriptors()
    );
}
