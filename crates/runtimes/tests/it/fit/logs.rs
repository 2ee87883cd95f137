//! What is kept of the output of runs, also of those that end without an answer.

use crate::support::{failure, function, python, value};
use serde_json::json;
use std::time::Duration;
use tollgate_core::invocations::LogLine;
use tollgate_core::tasks::FailureKind;

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

/// By whatever way it was written, it is in the log of its call, and in no other.
#[tokio::test]
async fn what_is_written_anywhere_below_a_stream_is_in_the_log_of_its_call() {
    let Some(python) = python() else {
        return;
    };
    for (statement, expected) in [
        ("os.write(1, b'A\\0SECRET\\n')", &["A\0SECRET"][..]),
        ("os.write(1, b'\\0SECRET')", &["\0SECRET"]),
        ("os.write(2, b'\\0\\0\\0')", &["\0"]),
        ("os.pwrite(1, b'SECRET\\n', 6)", &["\0SECRET"]),
        ("os.pwrite(2, b'SECRET', 100_000)", &["\0SECRET"]),
        (
            "os.lseek(1, 1000, 0); os.write(1, b'SECRET')",
            &["\0SECRET"],
        ),
        (
            "os.write(1, b'\\0SECRET'); os.lseek(1, 0, 0)",
            &["\0SECRET"],
        ),
        (
            "os.write(1, b'one\\0'); print('two'); os.write(1, b'SECRET')",
            &["one\0", "two", "SECRET"],
        ),
        (
            "open(1, 'wb', closefd=False, buffering=0).write(b'\\0SECRET')",
            &["\0SECRET"],
        ),
        ("os.write(os.dup(1), b'\\0SECRET')", &["\0SECRET"]),
    ] {
        let code = format!(
            "import os\ndef main(p):\n    if p.get('next'): os.write(1, b'hello\\n'); os.write(2, b'there\\n'); return\n    {statement}"
        );
        let probe = function(&code);
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), json!(null), "{statement}");
        let found: Vec<_> = report.logs.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(found, expected, "{statement}");
        for _ in 0..2 {
            let report = python.call(&probe, json!({"next": true})).await;
            let expected = [("stdout", "hello"), ("stderr", "there")];
            assert_eq!(lines(&report.logs), expected, "{statement}");
        }
    }
}

/// What `main` returned ends with its call, and prints as it does.
#[tokio::test]
async fn what_a_result_says_as_it_goes_is_in_the_log_of_its_call() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import os
class Result(dict):
    def __del__(self):
        print('gone'); os.write(1, b'\\0for good')
def main(p):
    if p.get('fail'): kept = Result(); raise ValueError('x')
    return Result(a=1)
";
    let probe = function(code);
    for fail in [false, true, false, false] {
        let report = python.call(&probe, json!({"fail": fail})).await;
        assert_eq!(report.result.is_err(), fail);
        let expected = [("stdout", "gone"), ("stdout", "\0for good")];
        assert_eq!(lines(&report.logs), expected);
    }
}

#[tokio::test]
async fn what_was_written_after_a_zero_outlives_a_crash() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import os
def main(p):
    os.write(1, b'before\\n'); os.write(1, b'a\\0b\\n')
    os.pwrite(2, b'far off', 5000); os.write(1, b'the last words\\n'); os.abort()
";
    let report = python.once(code).await;
    assert_eq!(failure(&report).kind, FailureKind::Crashed);
    let expected = [
        ("stdout", "before"),
        ("stdout", "a\0b"),
        ("stdout", "the last words"),
        ("stderr", "\0far off"),
    ];
    assert_eq!(lines(&report.logs), expected);
}

/// What Python's own `print` may write, and no more.
#[tokio::test]
async fn more_than_there_is_room_for_below_a_stream_is_the_limit_of_logs() {
    let Some(python) = python() else {
        return;
    };
    for statement in [
        "for _ in range(200): os.write(1, b'x' * 9999 + b'\\n')",
        "for _ in range(2): os.write(2, b'x' * (3 << 20))",
        "for _ in range(200): open(1, 'wb', closefd=False, buffering=0).write(b'x' * 9999)",
        "os.pwrite(1, b'x', 2 << 20)\n    os.write(1, b'y')",
    ] {
        let code = format!(
            "import os\ndef main(p):\n    if p.get('next'): return 'next'\n    os.lseek(1, 1, 0)\n    {statement}"
        );
        let probe = function(&code);
        let report = python.call(&probe, json!({})).await;
        if statement.contains("pwrite") {
            // Not full: it asked for a place that is not there.
            assert_eq!(failure(&report).kind, FailureKind::Exception, "{statement}");
        } else {
            let failed = failure(&report);
            assert_eq!(failed.kind, FailureKind::Limit, "{statement}: {failed:?}");
            assert!(failed.message.contains("1 MiB of logs"), "{failed:?}");
        }
        assert_eq!(
            value(&python.call(&probe, json!({"next": true})).await),
            "next"
        );
    }
}
