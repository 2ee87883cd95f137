//! Exceptions have a say in how they are shown, and none in whether there is an answer.

use crate::support::{failure, function, python};
use serde_json::json;
use tollgate_core::tasks::FailureKind;

/// What is raised, and the message of the failure.
const RAISED: &[(&str, &str, &str)] = &[
    (
        "class E(Exception):\n    def __init__(self, exceptions): self.exceptions = exceptions",
        "E(['too short'])",
        "E: ['too short']",
    ),
    (
        "class E(Exception): exceptions = {'a': 1}",
        "E('x')",
        "E: x",
    ),
    ("class E(Exception): exceptions = 3", "E('x')", "E: x"),
    (
        "class E(Exception):\n    @property\n    def exceptions(self): raise ValueError",
        "E('x')",
        "E: x",
    ),
    (
        "class E(RuntimeError):\n    def __str__(self): raise ValueError",
        "E()",
        "E: <no text: str() failed>",
    ),
    (
        "class E(Exception):\n    def __str__(self): raise SystemExit(3)",
        "E()",
        "E: <no text: str() failed>",
    ),
    (
        "class E(Exception):\n    def __str__(self): return 5",
        "E()",
        "E: <no text: str() failed>",
    ),
    (
        "class S(str):\n    def __format__(self, how): raise ValueError\nclass E(Exception):\n    def __str__(self): return S('text')",
        "E()",
        "E: text",
    ),
    (
        "class S(str):\n    def __str__(self): raise ValueError\n    __len__ = __getitem__ = __bool__ = __str__\nclass E(Exception):\n    def __str__(self): return S('text')",
        "E()",
        "E: text",
    ),
    (
        "class E(Exception):\n    @property\n    def __notes__(self): raise ValueError",
        "E('x')",
        "E: x",
    ),
    (
        "class E(OSError):\n    @property\n    def errno(self): raise ValueError",
        "E('x')",
        "E: x",
    ),
    (
        "class M(type):\n    @property\n    def __name__(self): raise ValueError\nclass E(Exception, metaclass=M): pass",
        "E('x')",
        "E",
    ),
    (
        "class E(Exception):\n    def __getattribute__(self, name): raise ValueError",
        "E('x')",
        "E",
    ),
    (
        "class E(Exception):\n    @property\n    def __class__(self): raise ValueError",
        "E('x')",
        "E",
    ),
    (
        "class E(Exception):\n    def __eq__(self, other): raise ValueError\n    __hash__ = None",
        "E('x')",
        "E: x",
    ),
    (
        "import os\ndef E():\n    r, w = os.pipe(); os.set_blocking(r, False); os.read(r, 1)",
        "E()",
        "BlockingIOError: ",
    ),
    (
        "import fcntl\ndef E():\n    a, b = open('l', 'w'), open('l', 'w')\n    for f in a, b: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "E()",
        "BlockingIOError: ",
    ),
    (
        "def E():\n    try: raise BlockingIOError(11, 'locked')\n    except OSError as e: raise KeyError('wrapped') from e",
        "E()",
        "KeyError: 'wrapped'",
    ),
    (
        "def E():\n    e = None\n    for n in range(20000):\n        new = ValueError(str(n)); new.__cause__ = e; e = new\n    return e",
        "E()",
        "ValueError: 19999",
    ),
    (
        "def E():\n    e = ValueError('x')\n    for _ in range(900): e = ExceptionGroup('g', [e])\n    return e",
        "E() if hasattr(__builtins__, 'ExceptionGroup') else ValueError('g')",
        "",
    ),
];

#[tokio::test]
async fn any_exception_is_recorded_with_its_name_and_place() {
    let Some(python) = python() else {
        return;
    };
    for (first, raised, message) in RAISED {
        let probe = function(&format!("{first}\ndef main(p):\n    raise {raised}"));
        let mut workers = Vec::new();
        for _ in 0..2 {
            let report = python.call(&probe, json!({})).await;
            let failed = failure(&report);
            assert_eq!(failed.kind, FailureKind::Exception, "{first}: {failed:?}");
            assert!(failed.message.starts_with(message), "{first}: {failed:?}");
            let trace = failed.traceback.as_deref().unwrap_or_default();
            assert!(trace.contains("in main"), "{first}: {trace}");
            workers.push(report.worker);
        }
        assert_eq!(workers[0], workers[1], "{first}");
    }
}

#[tokio::test]
async fn any_exception_at_load_is_recorded_as_that() {
    let Some(python) = python() else {
        return;
    };
    let raised = RAISED.iter().take(15);
    let raised = raised.map(|(first, raised, message)| {
        (
            format!("{first}\nraise {raised}\ndef main(p): pass"),
            *message,
        )
    });
    let signature = "class M:\n    @property\n    def __signature__(self): raise OSError('x')\n    def __call__(self, p): return 1\nmain = M()";
    let getattr = "def __getattr__(name): raise RuntimeError(name)";
    let others = [
        (signature.to_owned(), "OSError: x"),
        (getattr.to_owned(), "RuntimeError: main"),
    ];
    for (code, message) in raised.chain(others) {
        let report = python.once(&code).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Load, "{code}: {failed:?}");
        assert!(failed.message.starts_with(message), "{code}: {failed:?}");
        let trace = failed.traceback.as_deref().unwrap_or_default();
        assert!(trace.contains("probe.py"), "{code}: {trace}");
    }
}
