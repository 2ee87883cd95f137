//! What a call leaves behind, kind by kind: thirty calls give the right value, each as the first did.

use crate::support::{Python, failure, function, function_with, python, value};
use serde_json::{Value, json};
use tollgate_core::functions::FunctionOptions;
use tollgate_core::ports::runtime::Runtime as _;
use tollgate_core::tasks::FailureKind;

/// A kind of thing that is left behind, code that looks whether it is there and leaves it, and what
/// each call must find.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "temporary files",
        "import os, tempfile\ndef main(p):\n    seen = os.listdir('.')\n    with tempfile.NamedTemporaryFile(delete=False) as f: f.write(b'x' * (8 << 20))\n    return seen",
        "[]",
    ),
    (
        "many small files, in folders",
        "import os, tempfile\ndef main(p):\n    seen = os.listdir('.')\n    os.makedirs('a/b')\n    for n in range(1500): open(f'a/b/{n}', 'w').close()\n    return seen",
        "[]",
    ),
    (
        "a file of the module that grows",
        "open('log', 'w').close()\ndef main(p):\n    with open('log', 'ab') as f: f.write(b'x' * (7 << 20))\n    return 'written'",
        "\"written\"",
    ),
    (
        "open files",
        "import os\ndef main(p):\n    for _ in range(20): os.open('/dev/null', os.O_RDONLY)\n    return 'opened'",
        "\"opened\"",
    ),
    (
        "sockets and pipes in a cycle",
        "import socket\nclass Holder: pass\ndef main(p):\n    h = Holder(); h.me = h; h.pair = [socket.socketpair() for _ in range(20)]\n    return 'held'",
        "\"held\"",
    ),
    (
        "memory",
        "kept = []\ndef main(p):\n    kept.append(bytearray(40 << 20)); return 'kept'",
        "\"kept\"",
    ),
    (
        "the working directory",
        "import os\ndef main(p):\n    seen = os.path.basename(os.getcwd()) == 'deep'\n    os.makedirs('deep', exist_ok=True); os.chdir('deep'); return seen",
        "false",
    ),
    (
        "environment variables",
        "import os\ndef main(p):\n    seen = [os.environ.get('X'), os.environ.get('PATH') is None]\n    os.environ['X'] = '1'; os.environ.pop('PATH', None); return seen",
        "[null, false]",
    ),
    (
        "another environment",
        "import os\ndef main(p):\n    seen = 'PATH' in os.environ; os.environ = {}; return seen",
        "true",
    ),
    (
        "a pending alarm",
        "import signal\ndef main(p):\n    seen = signal.getitimer(signal.ITIMER_REAL)[0]; signal.alarm(1)\n    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001); return seen",
        "0.0",
    ),
    (
        "signal handlers and a blocked signal",
        "import signal\ndef main(p):\n    seen = [str(signal.getsignal(signal.SIGUSR1)), len(signal.pthread_sigmask(signal.SIG_BLOCK, []))]\n    signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n    return seen",
        "[\"0\", 0]",
    ),
    (
        "lower limits",
        "import resource\nWHAT = resource.RLIMIT_NOFILE\ndef main(p):\n    seen = resource.getrlimit(WHAT)[0]; resource.setrlimit(WHAT, (40, resource.getrlimit(WHAT)[1])); return seen",
        "256",
    ),
    (
        "lower limits for good",
        "import resource\nWHAT = resource.RLIMIT_FSIZE\ndef main(p):\n    seen = resource.getrlimit(WHAT)[0]; resource.setrlimit(WHAT, (40, 40)); return seen",
        "67108864",
    ),
    (
        "a replaced stdout",
        "import io, sys\ndef main(p):\n    seen = isinstance(sys.stdout, io.StringIO); sys.stdout = sys.stderr = io.StringIO(); return seen",
        "false",
    ),
    (
        "a closed stdout",
        "import sys\ndef main(p):\n    print('x'); sys.stdout.close(); sys.stderr.detach(); return 'closed'",
        "\"closed\"",
    ),
    (
        "closed descriptors below it",
        "import os\ndef main(p):\n    print('x'); os.closerange(1, 3); return 'closed'",
        "\"closed\"",
    ),
    (
        "replaced built-in names",
        "import builtins\ndef main(p):\n    seen = [callable(len), hasattr(builtins, 'mine')]\n    builtins.len = builtins.open = builtins.print = None; builtins.mine = 1; return seen",
        "[true, false]",
    ),
    (
        "a replaced json",
        "import json, time, traceback\ndef main(p):\n    json.dumps = json.loads = traceback.format_exc = None\n    json.JSONEncoder.encode = json.JSONDecoder.decode = None; return 'broken'",
        "\"broken\"",
    ),
    (
        "a trace function and a recursion limit",
        "import sys\ndef main(p):\n    seen = [sys.gettrace() is None, sys.getrecursionlimit()]\n    sys.setrecursionlimit(90); sys.settrace(lambda *a: None); return seen",
        "[true, 1000]",
    ),
    (
        "decimal's context, collection, umask and locale",
        "import decimal, gc, locale, os\ndef main(p):\n    mask = os.umask(0o077)\n    seen = [decimal.getcontext().prec, gc.isenabled(), mask, locale.setlocale(locale.LC_NUMERIC)]\n    decimal.getcontext().prec = 3; gc.disable(); locale.setlocale(locale.LC_ALL, 'C'); return seen",
        "[28, true, 18, \"C\"]",
    ),
    (
        "log handlers",
        "import logging\ndef main(p):\n    logger = logging.getLogger('mine'); seen = len(logger.handlers)\n    logger.addHandler(logging.StreamHandler()); logging.root.handlers.clear(); logging.disable(50); return seen",
        "0",
    ),
    (
        "warning filters, a socket timeout, hooks",
        "import socket, sys, threading, warnings\ndef main(p):\n    seen = [len(warnings.filters), socket.getdefaulttimeout(), sys.excepthook is sys.__excepthook__]\n    warnings.simplefilter('error'); socket.setdefaulttimeout(0.1); sys.excepthook = threading.excepthook = print\n    return seen[1:]",
        "[null, true]",
    ),
    (
        "functions to run at the exit",
        "import atexit\ndef main(p):\n    for _ in range(50): atexit.register(print)\n    return 'registered'",
        "\"registered\"",
    ),
];

async fn thirty(python: &Python, kind: &str, code: &str, expected: &Value, kept: bool) {
    each(python, kind, code, expected, kept, 30).await;
}

/// So many calls of one function, each of which must give the same.
pub(super) async fn each(
    python: &Python,
    kind: &str,
    code: &str,
    expected: &Value,
    kept: bool,
    calls: u32,
) {
    let probe = function(code);
    python.runtime.keep(&probe, kept);
    for number in 0..calls {
        let report = python.call(&probe, json!({})).await;
        assert_eq!(&value(&report), expected, "{kind}, call {number}");
    }
    python.runtime.keep(&probe, false);
}

#[tokio::test]
async fn what_a_call_leaves_behind_meets_no_other_call() {
    let Some(python) = python() else {
        return;
    };
    for (kind, code, expected) in KINDS {
        let expected = serde_json::from_str(expected).unwrap();
        thirty(&python, kind, code, &expected, false).await;
    }
}

/// What used to close sign-up for ever: the worker of a PRE function is never let go.
#[tokio::test]
async fn a_kept_worker_that_is_not_fit_is_replaced() {
    let Some(python) = python() else {
        return;
    };
    for (kind, code, expected) in KINDS.iter().take(6) {
        let expected = serde_json::from_str(expected).unwrap();
        thirty(&python, kind, code, &expected, true).await;
    }
}

/// What the module's top level made, and what a call holds open, is the function's own.
#[tokio::test]
async fn what_belongs_to_the_module_stays() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import atexit, logging, os, sqlite3, threading
open('cache', 'w').write('loaded')
os.environ['MINE'] = '1'
cached = None
def main(p):
    global cached
    if cached is None:
        cached = sqlite3.connect('data.db')
        cached.execute('create table t (n)')
    cached.execute('insert into t values (1)')
    cached.commit()
    return [open('cache').read(), os.environ['MINE'], cached.execute('select count(*) from t').fetchone()[0]]
";
    let probe = function(code);
    for number in 1..=30 {
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), json!(["loaded", "1", number]));
    }
}

const NO_ROOM: &[(&str, &str)] = &[
    (
        "open('f', 'wb').write(b'x' * (63 << 20)); open('g', 'wb').write(b'x' * (9 << 20))",
        "scratch folder is full",
    ),
    ("[os.open('/dev/null', 0) for _ in range(300)]", "256"),
    (
        "[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(200)]",
        "64",
    ),
    ("bytearray(3 << 30)", "MiB of memory"),
    (
        "open('f', 'wb').write(b'x' * (1 << 20)); os.truncate('f', 65 << 20)",
        "64 MiB",
    ),
    ("raise OSError(errno.ENOMEM, 'no more')", "MiB of memory"),
];

/// Also where the function has wrapped them.
#[tokio::test]
async fn no_room_is_a_limit_that_names_itself_and_ends_the_worker() {
    let Some(python) = python() else {
        return;
    };
    for (statement, named) in NO_ROOM {
        for wrapped in [false, true] {
            let mut body = format!("        {statement}\n");
            if wrapped {
                body += "    except Exception as e:\n        raise ValueError('wrapped') from e\n";
            } else {
                body += "    finally: pass\n";
            }
            let code = format!(
                "import errno, os, threading\ndef main(p):\n    if p.get('fine'): return os.getpid()\n    try:\n{body}"
            );
            let options = FunctionOptions {
                memory_mb: Some(128),
                ..FunctionOptions::default()
            };
            let probe = function_with(&code, options);
            let before = value(&python.call(&probe, json!({"fine": true})).await);
            let report = python.call(&probe, json!({})).await;
            let failed = failure(&report);
            assert_eq!(failed.kind, FailureKind::Limit, "{statement}: {failed:?}");
            assert!(failed.message.contains(named), "{statement}: {failed:?}");
            let after = value(&python.call(&probe, json!({"fine": true})).await);
            assert_ne!(before, after, "{statement}: it goes on");
        }
    }
}
