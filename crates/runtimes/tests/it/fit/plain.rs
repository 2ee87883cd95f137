//! A function finds Python as it knows it.

use crate::support::{Python, config, function, python, value};
use serde_json::{Value, json};
use std::process::Command;

/// Expressions, and what they need, that must give the same here and in a plain interpreter.
const SAME: &[(&str, &str)] = &[
    (
        "import sys",
        "[sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.writable()]",
    ),
    (
        "import sys",
        "[sys.stdout.reconfigure(line_buffering=True), sys.stdout.line_buffering]",
    ),
    (
        "import io, sys\nout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')",
        "out.encoding",
    ),
    (
        "import sys",
        "[sys.stderr.buffer.write(b'x'), sys.stderr.name, sys.stderr.mode]",
    ),
    (
        "import faulthandler\nfaulthandler.enable()",
        "faulthandler.is_enabled()",
    ),
    (
        "from multiprocessing.pool import ThreadPool",
        "ThreadPool(3).map(abs, [-1, -2, -3])",
    ),
    (
        "import multiprocessing.dummy",
        "multiprocessing.dummy.Pool(2).map(abs, [-1, -2])",
    ),
    (
        "import multiprocessing\nlock = multiprocessing.Lock()",
        "[lock.acquire(), lock.release(), lock.acquire(False), lock.release()]",
    ),
    (
        "import multiprocessing\nq = multiprocessing.Queue()",
        "[q.put('x'), q.get(timeout=5)]",
    ),
    (
        "import multiprocessing\ne = multiprocessing.Event(); s = multiprocessing.Semaphore(2)",
        "[e.is_set(), s.acquire()]",
    ),
    (
        "import shutil, tempfile, os\nf = tempfile.mkdtemp(); open(f + '/a', 'w').write('x')",
        "[os.path.basename(shutil.copy2(f + '/a', f + '/b')), sorted(os.listdir(shutil.copytree(f, f + '-copy')))]",
    ),
    (
        "import inspect\ndef probe(x):\n    return x + 1  # here",
        "inspect.getsource(probe)",
    ),
    (
        "import dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int = 1",
        "[pickle.loads(pickle.dumps(Point(3))).x, Point.__module__ == __name__, dataclasses.asdict(Point())]",
    ),
    (
        "import typing\nclass Node:\n    other: 'Node'",
        "typing.get_type_hints(Node)['other'] is Node",
    ),
    (
        "import asyncio",
        "asyncio.run(asyncio.to_thread(sum, [1, 2]))",
    ),
    (
        "from concurrent.futures import ThreadPoolExecutor",
        "list(ThreadPoolExecutor(4).map(abs, [-1, 2]))",
    ),
    (
        "import zoneinfo, datetime",
        "datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).isoformat()",
    ),
    (
        "import ssl",
        "ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED",
    ),
    (
        "import locale, platform, os",
        "[bool(locale.getpreferredencoding()), platform.system(), os.cpu_count() > 0]",
    ),
    (
        "import tempfile\nf = tempfile.TemporaryFile(); f.write(b'abc')",
        "[f.seek(0), f.read().decode()]",
    ),
    (
        "import sys",
        "[len(sys.argv), type(sys.argv[0]).__name__, sys.modules[__name__].__name__ == __name__]",
    ),
    (
        "import argparse\np = argparse.ArgumentParser(); p.add_argument('--n', default=3)",
        "p.parse_args().n",
    ),
    ("import getpass", "bool(getpass.getuser())"),
    (
        "import pwd, os",
        "pwd.getpwuid(os.getuid()).pw_uid == os.getuid()",
    ),
    ("import os.path", "os.path.expanduser('~') != '~'"),
    (
        "import mimetypes",
        "[mimetypes.guess_type('a.html')[0], mimetypes.guess_extension('image/png')]",
    ),
    (
        "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): print('inside')",
        "out.getvalue()",
    ),
    (
        "try: input('? ')\nexcept EOFError as error: seen = type(error).__name__",
        "seen",
    ),
    (
        "import logging\nlogging.basicConfig(level=logging.INFO)",
        "logging.getLogger().isEnabledFor(logging.INFO)",
    ),
    (
        "import sqlite3",
        "sqlite3.connect(':memory:').execute('select 1 + 1').fetchone()[0]",
    ),
    ("import gettext\ngettext.install('x')", "_('text')"),
];

fn code_of(first: &str, expression: &str) -> String {
    format!("{first}\ndef main(params):\n    return {expression}\n")
}

fn in_plain_python(code: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let python = config(folder.path()).unwrap().python.program;
    let script = folder.path().join("probe.py");
    let last = "\nimport json as _json, os as _os\n_text = _json.dumps(main({}))\nopen('answer', 'w').write(_text)\n_os._exit(0)\n";
    std::fs::write(&script, format!("{code}{last}")).unwrap();
    let output = Command::new(python)
        .args(["-I", "-X", "utf8"])
        .arg(&script)
        .current_dir(&folder)
        .env("HOME", folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let answer = std::fs::read_to_string(folder.path().join("answer"));
    let answer = answer.unwrap_or_else(|_| panic!("{code}: {output:?}"));
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn the_library_works_as_in_plain_python() {
    let Some(python) = python() else {
        return;
    };
    for (first, expression) in SAME {
        let code = code_of(first, expression);
        let plain = in_plain_python(&code);
        let probe = function(&code);
        for _ in 0..2 {
            let here = value(&python.call(&probe, json!({})).await);
            assert_eq!(here, plain, "{expression}");
        }
    }
}

async fn of(python: &Python, first: &str, expression: &str) -> Value {
    value(&python.once(&code_of(first, expression)).await)
}

#[tokio::test]
async fn what_plain_python_reads_from_files_is_known() {
    let Some(python) = python() else {
        return;
    };
    for (name, kind) in [
        (
            "a.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (
            "a.xlsx",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        ("a.webp", "image/webp"),
        ("a.md", "text/markdown"),
    ] {
        let expression = format!("mimetypes.guess_type('{name}')[0]");
        assert_eq!(of(&python, "import mimetypes", &expression).await, kind);
    }
    let script = of(&python, "import sys", "[sys.argv, __name__, __file__]").await;
    assert_eq!(script, json!([["probe.py"], "function", "probe.py"]));
}

/// What cannot work, and a word of what is said.
const CANNOT: &[(&str, &str, &str)] = &[
    ("import socket", "socket.socket()", "requests"),
    (
        "import socket",
        "socket.create_connection(('192.0.2.1', 25))",
        "SMTP",
    ),
    (
        "import socket",
        "socket.gethostbyname('example.invalid')",
        "looked up by the server",
    ),
    (
        "import smtplib",
        "smtplib.SMTP('mail.invalid')",
        "HTTP interface",
    ),
    (
        "import smtplib",
        "smtplib.SMTP('192.0.2.1')",
        "HTTP interface",
    ),
    ("import ftplib", "ftplib.FTP('ftp.invalid')", "FTP"),
    (
        "import asyncio",
        "asyncio.run(asyncio.open_connection('192.0.2.1', 80))",
        "sockets",
    ),
    (
        "import subprocess",
        "subprocess.run(['ls'])",
        "start no process",
    ),
    ("import os", "os.system('ls')", "start no process"),
    ("import os", "os.fork()", "ThreadPool"),
    (
        "import multiprocessing",
        "multiprocessing.Process(target=print).start()",
        "ThreadPool",
    ),
];

#[tokio::test]
async fn what_cannot_work_says_why_and_what_to_use_instead() {
    let Some(python) = python() else {
        return;
    };
    for (first, statement, named) in CANNOT {
        let body = format!(
            "def look():\n    try: {statement}\n    except Exception as error: return str(error)"
        );
        let said = of(&python, &format!("{first}\n{body}"), "look()").await;
        let said = said.as_str().unwrap_or_else(|| panic!("{statement} works"));
        assert!(said.contains(named), "{statement}: {said}");
        assert_eq!(said.lines().count(), 1, "{statement}: {said}");
    }
}
