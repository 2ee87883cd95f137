//! What is kept of the output of runs, also of those that end without an answer.

use crate::support::{failure, function, python, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::invocation::{FailureKind, LogLine};

fn lines(logs: &[LogLine]) -> Vec<(&str, &str)> {
    logs.iter()
        .map(|line| (line.logger.as_str(), line.message.as_str()))
        .collect()
}

#[tokio::test]
async fn a_crashed_run_keeps_what_it_wrote_last_by_whatever_way() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import ctypes, faulthandler, os, sys
def main(p):
    faulthandler.enable()
    print('printed')
    ctypes.CDLL(None).printf(b'from C\\n')
    os.write(2, b'to descriptor 2\\n')
    print('printed again', file=sys.stderr)
    sys.stdout.write('without an end')
    os.write(1, b'last of all')
    ctypes.string_at(0)
";
    let report = python.once(code).await;
    assert_eq!(failure(&report).kind, FailureKind::Crashed);
    let found = lines(&report.logs);
    for expected in [
        ("stdout", "printed"),
        ("stdout", "from C"),
        ("stderr", "to descriptor 2"),
        ("stderr", "printed again"),
        ("stdout", "without an end"),
        ("stdout", "last of all"),
        ("stderr", "Fatal Python error: Segmentation fault"),
    ] {
        assert!(
            found.contains(&expected),
            "{expected:?} is not in {found:?}"
        );
    }
    let order: Vec<_> = ["printed", "from C", "printed again", "without an end"]
        .iter()
        .map(|text| found.iter().position(|line| line.1 == *text))
        .collect();
    assert!(order.is_sorted(), "{found:?}");
}

#[tokio::test]
async fn a_run_that_takes_too_long_keeps_its_newest_lines_and_says_what_was_cut() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import time
def main(p):
    for number in range(9000): print(f'line {number} ' + 'x' * 80)
    print('waiting for the end', end='', flush=True)
    time.sleep(60)
";
    let limit = Duration::from_secs(3);
    let report = python.call_within(&function(code), json!({}), limit).await;
    assert_eq!(failure(&report).kind, FailureKind::Timeout);
    let found = lines(&report.logs);
    assert_eq!(found[0].0, "tollgate");
    assert!(found[0].1.contains("were cut"), "{:?}", found[0]);
    assert!(found[found.len() - 2].1.starts_with("line 8999 "));
    assert_eq!(found[found.len() - 1], ("stdout", "waiting for the end"));
    assert!(found.len() > 1000, "{}", found.len());
}

#[tokio::test]
async fn native_output_is_in_the_logs_of_its_call_only() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import ctypes, os
def main(p):
    os.write(1, b'native %d\\nand \\xff' % p['n'])
    ctypes.CDLL(None).puts(b'from C')
    print('printed')
";
    let probe = function(code);
    for n in 0..3 {
        let report = python.call(&probe, json!({"n": n})).await;
        assert_eq!(value(&report), json!(null));
        let native = format!("native {n}");
        let expected = [
            ("stdout", native.as_str()),
            ("stdout", "and \u{fffd}from C"),
            ("stdout", "printed"),
        ];
        assert_eq!(lines(&report.logs), expected);
    }
}

#[tokio::test]
async fn more_native_output_than_there_is_room_for_is_cut_with_a_note() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import ctypes
def main(p):
    libc = ctypes.CDLL(None)
    for _ in range(1200): libc.puts(b'x' * 1000)
    return 'done'
";
    let report = python.once(code).await;
    let last = report.logs.last().unwrap();
    assert_eq!(last.logger, "tollgate", "{last:?}");
    assert!(last.message.contains("cut"), "{last:?}");
    assert!(report.logs.len() > 1000);
}

/// The journal is memory that the function can write to.
#[tokio::test]
async fn a_forged_journal_is_only_text() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import gc, mmap, os
def main(p):
    print('before')
    for memory in [it for it in gc.get_objects() if isinstance(it, mmap.mmap)]:
        memory[:] = b'\\xff' * len(memory)
    os.abort()
";
    let report = python.once(code).await;
    assert_eq!(failure(&report).kind, FailureKind::Crashed);
    let bytes: usize = report.logs.iter().map(|it| it.message.len()).sum();
    assert!(bytes <= tollgate_core::limits::LOG_BYTES + 500, "{bytes}");
}

#[tokio::test]
async fn a_log_call_that_fails_to_format_ends_no_run() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import logging
class Odd:
    def __str__(self): raise ValueError('odd')
    __repr__ = __str__
def main(p):
    logging.info('%d and %d', 'one')
    logging.warning('%s', Odd())
    log(Odd(), level=Odd(), odd=Odd())
    logging.error('the end')
    return 'went on'
";
    let report = python.once(code).await;
    assert_eq!(value(&report), "went on");
    let found = lines(&report.logs);
    assert!(
        found.contains(&("stderr", "--- Logging error ---")),
        "{found:?}"
    );
    assert!(found.contains(&("function", "the end")), "{found:?}");
    assert!(
        found.iter().any(|it| it.1.contains("Odd, not shown")),
        "{found:?}"
    );
}

#[tokio::test]
async fn basic_config_sets_level_and_format() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import logging
logging.basicConfig(level=logging.DEBUG, format='[%(name)s] %(message)s')
def main(p): logging.getLogger('mail').debug('sent')
";
    let report = python.once(code).await;
    assert_eq!(lines(&report.logs), [("function", "[mail] sent")]);
    assert_eq!(report.logs[0].level, "DEBUG");
}
