//! What a call sets in Python and in its process: each call finds it as loading left it.

use super::left::each;
use crate::support::{function, python, value};
use serde_json::json;
use tollgate_core::ports::runtime::Runtime as _;

/// What is set; what the module does; what a call finds; what it then does; what each must find.
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "decimal's rounding and sizes",
        "import decimal\nC = decimal.getcontext()",
        "[C.rounding, C.Emax, C.capitals, C.clamp, decimal.getcontext() is C]",
        "C.rounding = decimal.ROUND_DOWN; C.Emax = 10; C.capitals = 0; C.clamp = 1",
        "[\"ROUND_HALF_EVEN\", 999999, 1, 0, true]",
    ),
    (
        "decimal's traps and flags",
        "import decimal",
        "[decimal.getcontext().traps[decimal.Inexact], decimal.getcontext().flags[decimal.Inexact]]",
        "decimal.Decimal(1) / 3; decimal.getcontext().traps[decimal.Inexact] = True",
        "[false, false]",
    ),
    (
        "another context",
        "import decimal",
        "decimal.getcontext().prec",
        "decimal.setcontext(decimal.Context(prec=5))",
        "28",
    ),
    (
        "hooks",
        "import sys, threading",
        "[sys.excepthook is sys.__excepthook__, threading.excepthook.__name__, sys.unraisablehook is sys.__unraisablehook__]",
        "sys.excepthook = sys.unraisablehook = print; threading.excepthook = len",
        "[true, \"_excepthook\", true]",
    ),
    (
        "traced threads",
        "import threading\nhits = []",
        "(hits.clear(), (t := threading.Thread(target=int)).start(), t.join(), len(hits))[3]",
        "threading.settrace(lambda *a: hits.append(1)); threading.setprofile(lambda *a: hits.append(1))",
        "0",
    ),
    (
        "a profiler",
        "import cProfile, sys\nkept = []",
        "sys.getprofile() is None",
        "kept.append(cProfile.Profile()); kept[-1].enable()",
        "true",
    ),
    (
        "a profile function",
        "import sys",
        "sys.getprofile() is None",
        "sys.setprofile(lambda *a: None)",
        "true",
    ),
    (
        "the collector's switches",
        "import gc",
        "[gc.get_debug(), gc.isenabled(), gc.get_threshold()[0], len(gc.callbacks)]",
        "gc.set_debug(gc.DEBUG_SAVEALL); gc.disable(); gc.set_threshold(5); gc.callbacks.append(lambda *a: None)",
        "[0, true, 700, 0]",
    ),
    (
        "traces of memory",
        "import tracemalloc",
        "tracemalloc.is_tracing()",
        "tracemalloc.start()",
        "false",
    ),
    (
        "a replaced method of a stream",
        "import sys",
        "['write' in vars(sys.stdout), 'write' in vars(sys.stdout.buffer), 'flush' in vars(sys.stderr), sys.stdout.mode]",
        "sys.stdout.write = sys.stdout.buffer.write = sys.stderr.flush = len; sys.stdout.mode = 'r'",
        "[false, false, false, \"w\"]",
    ),
    (
        "a closed input",
        "import sys",
        "sys.stdin.read()",
        "sys.stdin.close()",
        "\"\"",
    ),
    (
        "a detached input",
        "import sys",
        "sys.stdin.readline()",
        "sys.stdin.detach()",
        "\"\"",
    ),
    (
        "closed descriptors",
        "import os",
        "[os.write(1, b'a\\n'), os.write(2, b'b\\n'), os.read(0, 1) == b'']",
        "os.close(0); os.close(1); os.close(2)",
        "[2, 2, true]",
    ),
    (
        "a closed output below",
        "import os",
        "os.write(1, b'a\\n')",
        "os.close(1)",
        "2",
    ),
    (
        "a variable below the environment",
        "import ctypes, os\ng = ctypes.CDLL(None).getenv\ng.restype = ctypes.c_char_p",
        "str(g(b'LEAK'))",
        "os.putenv('LEAK', '1')",
        "\"None\"",
    ),
    (
        "a variable taken from below it",
        "import ctypes, os\ng = ctypes.CDLL(None).getenv\ng.restype = ctypes.c_char_p",
        "g(b'HOME') is None",
        "os.unsetenv('HOME')",
        "false",
    ),
    (
        "the time zone",
        "import os, time",
        "time.tzname[0]",
        "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        "\"UTC\"",
    ),
    (
        "the time zone, without its variable",
        "import os, time",
        "time.tzname[0]",
        "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset(); del os.environ['TZ']",
        "\"UTC\"",
    ),
    (
        "the search path",
        "import sys\nN = len(sys.path)",
        "len(sys.path) - N",
        "sys.path.insert(0, '/tmp'); sys.path.append('x')",
        "0",
    ),
    (
        "another search path",
        "import sys",
        "'x' in sys.path",
        "sys.path = ['x']",
        "false",
    ),
    (
        "the arguments",
        "import sys",
        "list(sys.argv)",
        "sys.argv.append('x')",
        "[\"probe.py\"]",
    ),
    (
        "no finders",
        "import sys\nN = len(sys.meta_path)",
        "[len(sys.meta_path) - N, bool(sys.path_hooks), __import__('colorsys').__name__]",
        "sys.meta_path.clear(); sys.path_hooks.clear(); sys.modules.pop('colorsys')",
        "[0, true, \"colorsys\"]",
    ),
    (
        "the digits of integers",
        "import sys",
        "sys.get_int_max_str_digits()",
        "sys.set_int_max_str_digits(700)",
        "4300",
    ),
    (
        "a formatter",
        "import logging",
        "logging.warning('x')",
        "logging.getLogger().handlers[0].setFormatter(logging.Formatter('1 %(message)s'))",
        "null",
    ),
    (
        "a handler's level and filter",
        "import logging\nH = logging.getLogger().handlers[0]",
        "[H.level, len(H.filters), len(logging.root.filters)]",
        "H.setLevel(50); H.addFilter(print); logging.root.addFilter(print)",
        "[0, 0, 0]",
    ),
    (
        "a format of the root",
        "import logging",
        "[logging.root.level, logging.root.handlers[0].formatter]",
        "logging.basicConfig(format='F %(message)s', level=10)",
        "[20, null]",
    ),
    (
        "a named logger",
        "import logging\nL = logging.getLogger('app')",
        "[L.level, L.disabled, L.propagate, len(L.handlers), len(L.filters), L.isEnabledFor(30)]",
        "L.setLevel(50); L.disabled = True; L.propagate = False; L.addHandler(logging.NullHandler()); L.addFilter(print); L.isEnabledFor(30)",
        "[0, false, true, 0, 0, true]",
    ),
    (
        "a configuration that disables loggers",
        "import logging.config\nL = logging.getLogger('app')",
        "[L.disabled, type(logging.root.handlers[0]).__name__]",
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'ERROR'}})",
        "[false, \"LogHandler\"]",
    ),
    (
        "kinds of log records",
        "import logging",
        "[logging.getLogRecordFactory() is logging.LogRecord, logging.getLoggerClass() is logging.Logger, logging.getLevelName(20), logging.raiseExceptions]",
        "logging.setLogRecordFactory(lambda *a, **k: None); logging.setLoggerClass(type('L', (logging.Logger,), {})); logging.addLevelName(20, 'X'); logging.raiseExceptions = False",
        "[true, true, \"INFO\", true]",
    ),
    (
        "warnings that are logged",
        "import logging, warnings",
        "warnings.showwarning.__name__",
        "logging.captureWarnings(True)",
        "\"showwarning\"",
    ),
    (
        "how warnings are shown",
        "import warnings",
        "warnings.showwarning.__name__",
        "warnings.showwarning = len",
        "\"showwarning\"",
    ),
    (
        "a policy of loops",
        "import asyncio",
        "type(asyncio.get_event_loop_policy()).__name__.startswith('_Unix')",
        "asyncio.set_event_loop_policy(type('P', (asyncio.DefaultEventLoopPolicy,), {})())",
        "true",
    ),
    (
        "a closed loop",
        "import asyncio, warnings\nwarnings.simplefilter('ignore')",
        "asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 'slept'))",
        "asyncio.get_event_loop().close()",
        "\"slept\"",
    ),
    (
        "a context variable",
        "import contextvars\nV = contextvars.ContextVar('v', default=0)",
        "V.get()",
        "V.set(V.get() + 1)",
        "0",
    ),
    (
        "a way to handle what cannot be encoded",
        "import codecs",
        "b'\\xff'.decode('utf-8', 'replace')",
        "codecs.register_error('replace', lambda e: 1 / 0)",
        "\"\u{fffd}\"",
    ),
    (
        "a limit of threads",
        "import resource, threading",
        "((t := threading.Thread(target=int)).start(), t.join(), 'started')[2]",
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))",
        "\"started\"",
    ),
    (
        "a softer limit of threads",
        "import resource",
        "resource.getrlimit(resource.RLIMIT_NPROC)[0]",
        "resource.setrlimit(resource.RLIMIT_NPROC, (3, 64))",
        "64",
    ),
    (
        "an audit hook",
        "import sys\nhits = []",
        "(hits.clear(), sys.audit('mine'), len(hits))[2]",
        "sys.addaudithook(lambda *a: hits.append(1))",
        "0",
    ),
    (
        "faults that are told",
        "import faulthandler",
        "faulthandler.is_enabled()",
        "faulthandler.enable(); faulthandler.register(10)",
        "false",
    ),
    (
        "a stream replaced below `sys`",
        "import io, sys",
        "[isinstance(sys.stdout, io.StringIO), type(sys.stderr).__name__]",
        "sys.__dict__.update(stdout=io.StringIO(), stderr=None)",
        "[false, \"Stream\"]",
    ),
    (
        "no stream at all",
        "import sys",
        "hasattr(sys, 'stdout')",
        "del sys.stdout",
        "true",
    ),
    (
        "decimal's context within another one",
        "import decimal",
        "[decimal.getcontext().prec, str(decimal.Decimal(1) / 3)[:6]]",
        "decimal.localcontext().__enter__().prec = 3",
        "[28, \"0.3333\"]",
    ),
    (
        "decimal's flags",
        "import decimal\nC = decimal.getcontext()",
        "[flag.__name__ for flag, is_set in C.flags.items() if is_set]",
        "decimal.Decimal(1) / 3; decimal.Decimal('1e-9999999')",
        "[]",
    ),
    (
        "another root of built-in names",
        "import builtins",
        "[callable(print), hasattr(builtins, 'mine')]",
        "builtins.print = None; builtins.mine = 1",
        "[true, false]",
    ),
];

#[tokio::test]
async fn each_call_finds_what_loading_left() {
    let Some(python) = python() else {
        return;
    };
    for (kind, first, seen, body, expected) in KINDS {
        let code = format!("{first}\ndef main(p):\n    seen = {seen}\n    {body}\n    return seen");
        let expected = serde_json::from_str(expected).unwrap();
        each(&python, kind, &code, &expected, false, 4).await;
    }
}

/// What loading set itself is the function's own.
#[tokio::test]
async fn what_loading_set_stays_after_a_thorough_look() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import asyncio, contextvars, decimal, gc, logging, os, sys, threading, warnings
decimal.getcontext().prec = 50
V = contextvars.ContextVar('v'); V.set('loaded')
logging.basicConfig(format='[%(message)s]', level=10)
logging.getLogger('app').propagate = False
gc.set_threshold(900)
sys.path.append('mine')
class Finder:
    def find_spec(*_): return None
sys.meta_path.append(Finder)
hook = lambda *_: None
threading.excepthook = sys.excepthook = hook
warnings.simplefilter('ignore')
class Policy(asyncio.DefaultEventLoopPolicy): pass
asyncio.set_event_loop_policy(Policy())
def main(p):
    os.umask(os.umask(0))
    return [decimal.getcontext().prec, V.get(), logging.root.handlers[0].formatter._fmt, logging.root.level,
            logging.getLogger('app').propagate, gc.get_threshold()[0], 'mine' in sys.path, Finder in sys.meta_path,
            sys.excepthook is hook, threading.excepthook is hook, warnings.filters[0][0],
            type(asyncio.get_event_loop_policy()).__name__]
";
    let probe = function(code);
    let expected = json!([
        50,
        "loaded",
        "[%(message)s]",
        10,
        false,
        900,
        true,
        true,
        true,
        true,
        "ignore",
        "Policy"
    ]);
    for _ in 0..4 {
        assert_eq!(value(&python.call(&probe, json!({})).await), expected);
    }
}

/// Without bound they would pile up.
#[tokio::test]
async fn finders_that_calls_add_are_kept_up_to_a_number() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import sys
N = len(sys.meta_path)
class Finder:
    def find_spec(self, *_): return None
def main(p):
    sys.meta_path.append(Finder()); return len(sys.meta_path) - N
";
    let probe = function(code);
    let mut most = 0;
    for _ in 0..40 {
        let count = value(&python.call(&probe, json!({})).await)
            .as_u64()
            .unwrap();
        most = most.max(count);
    }
    assert!((2..=16).contains(&most), "{most}");
    python.runtime.keep(&probe, false);
}
