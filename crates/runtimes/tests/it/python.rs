//! What a function sees, and what becomes of what it returns, raises and prints.

use crate::support::{SITE, failure, function, python, value};
use serde_json::json;
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CodeError, Environment, Source};
use tollgate_core::limits;
use tollgate_core::ports::runtime::{CheckError, Runtime as _};
use tollgate_core::tasks::FailureKind;

macro_rules! python_or_skip {
    () => {
        match python() {
            Some(python) => python,
            None => return,
        }
    };
}

#[tokio::test]
async fn returns_what_main_returns() {
    let python = python_or_skip!();
    let report = python
        .call(
            &function("def main(params):\n    return {'sum': params['a'] + params['b'], 'x': 'é'}"),
            json!({"a": 1, "b": 2}),
        )
        .await;
    assert_eq!(value(&report), json!({"sum": 3, "x": "é"}));
    assert!(report.worker.starts_with("python-"), "{}", report.worker);
    assert_eq!(value(&python.once("def main(p): pass").await), json!(null));
}

#[tokio::test]
async fn main_is_given_as_many_arguments_as_it_takes() {
    let python = python_or_skip!();
    let three = "def main(params, user_data, sdk_client):\n    return [params['__function__'], user_data, sdk_client.users.get('ada')['id']]";
    let answer = value(&python.once(three).await);
    assert_eq!(answer[0]["slug"], "probe");
    assert_eq!(answer[0]["version"], 2);
    assert_eq!(answer[0]["attempt"], 1);
    assert_eq!(answer[0]["event"], "PRE_USER_CREATE");
    assert_eq!(answer[1], json!({"id": 5, "email": "ada@example.com"}));
    assert_eq!(answer[2], 5);
    let two = "def main(p, u=None):\n    return u['id']";
    assert_eq!(value(&python.once(two).await), 5);
    assert_eq!(value(&python.once("def main(*a): return len(a)").await), 3);
    let later =
        "import asyncio\nasync def main(params):\n    await asyncio.sleep(0)\n    return 'later'";
    assert_eq!(value(&python.once(later).await), "later");
}

#[tokio::test]
async fn what_main_is_given_is_no_global_and_the_error_says_so() {
    let python = python_or_skip!();
    let hint = "It is what main is given: write `def main(params, user_data, sdk_client): ...`";
    for (code, name, is_given) in [
        ("def main(p): return sdk_client.users", "sdk_client", true),
        ("def main(p): return user_data['id']", "user_data", true),
        (
            "def f(): return params\ndef main(p): return f()",
            "params",
            true,
        ),
        ("x = sdk_client\ndef main(p): return x", "sdk_client", true),
        ("def main(p): return client.users", "client", false),
        ("def main(p): return user_dat", "user_dat", false),
        (
            "def main(p): raise ValueError(\"name 'x' is not defined\")",
            "x",
            false,
        ),
    ] {
        let report = python.once(code).await;
        let message = &failure(&report).message;
        let says = format!("name '{name}' is not defined");
        assert!(message.contains(&says), "{code}: {message}");
        assert_eq!(message.contains(hint), is_given, "{code}: {message}");
    }
}

#[tokio::test]
async fn globals_live_on_between_calls() {
    let python = python_or_skip!();
    let counter = function("n = 0\ndef main(p):\n    global n\n    n += 1\n    return n");
    for expected in 1..=3 {
        assert_eq!(value(&python.call(&counter, json!({})).await), expected);
    }
}

#[tokio::test]
async fn the_environment_names_the_call_and_nothing_of_the_server() {
    let python = python_or_skip!();
    let report = python
        .once("import os\ndef main(p): return dict(os.environ)")
        .await;
    let environment = value(&report);
    for (name, expected) in [
        ("TARUVI_FUNCTION_RUNTIME", "true"),
        ("TARUVI_FUNCTION_NAME", "Probe"),
        (
            "TARUVI_EXECUTION_ID",
            "00000000-0000-0000-0000-000000001234",
        ),
        ("TARUVI_TENANT", "acme"),
        ("TARUVI_APP_ID", "3"),
        ("TARUVI_APP_SLUG", "crm"),
        ("TARUVI_SITE_ID", "7"),
        ("TARUVI_SITE_SLUG", "acme"),
        ("TARUVI_USER_ID", "5"),
        ("TARUVI_USER_EMAIL", "ada@example.com"),
    ] {
        assert_eq!(environment[name], expected, "{name}");
    }
    for name in environment.as_object().unwrap().keys() {
        let own = ["PATH", "LANG", "HOME", "TMPDIR"];
        let numeric = name.ends_with("_NUM_THREADS");
        let known = numeric || name.starts_with("TARUVI_") || own.contains(&name.as_str());
        assert!(known, "{name} was inherited");
    }
}

#[tokio::test]
async fn an_exception_shows_the_authors_lines_only() {
    let python = python_or_skip!();
    let code = "def main(params):\n    return check(params)\n\ndef check(params):\n    try:\n        int('x')\n    except ValueError as e:\n        raise KeyError('no such thing') from e\n";
    let probe = function(code);
    let report = python.call(&probe, json!({})).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Exception);
    assert_eq!(failed.message, "KeyError: 'no such thing'");
    let trace = failed.traceback.as_deref().unwrap();
    for line in [
        "File \"probe.py\", line 2, in main\n    return check(params)",
        "File \"probe.py\", line 6, in check",
        "File \"probe.py\", line 8, in check",
        "The above exception was the direct cause",
    ] {
        assert!(trace.contains(line), "{line} is not in {trace}");
    }
    assert!(!trace.contains("tollgate"), "{trace}");
    // The worker is used again.
    assert_eq!(python.call(&probe, json!({})).await.worker, report.worker);
}

#[tokio::test]
async fn ways_out_of_a_function_are_exceptions() {
    let python = python_or_skip!();
    for (statement, message) in [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        (
            "main(p)",
            "RecursionError: maximum recursion depth exceeded",
        ),
        (
            "class E(Exception):\n        def __str__(self): raise OSError\n    raise E",
            "E: <no text: str() failed>",
        ),
    ] {
        let probe = function(&format!("def main(p):\n    {statement}"));
        let report = python.call(&probe, json!({})).await;
        assert_eq!(failure(&report).kind, FailureKind::Exception, "{statement}");
        assert!(
            failure(&report).message.starts_with(message),
            "{:?}",
            failure(&report)
        );
        assert_eq!(python.call(&probe, json!({})).await.worker, report.worker);
    }
}

#[tokio::test]
async fn code_that_does_not_load_says_where() {
    let python = python_or_skip!();
    for (code, message, place) in [
        (
            "def main(p):\n    return = 1\n",
            "SyntaxError: invalid syntax (line 2)",
            "line 2",
        ),
        (
            "x = 1\nimport nothing_of_the_kind\ndef main(p): pass",
            "ModuleNotFoundError",
            "line 2",
        ),
        ("def f(): 1/0\nf()", "ZeroDivisionError", "line 1, in f"),
    ] {
        let report = python.once(code).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Load, "{failed:?}");
        assert!(failed.message.starts_with(message), "{failed:?}");
        assert!(
            failed.traceback.as_deref().unwrap().contains(place),
            "{failed:?}"
        );
    }
    let report = python.once("print('so far')\nx = 1").await;
    assert!(failure(&report).message.contains("no function named main"));
    assert_eq!(report.logs[0].message, "so far");
}

#[tokio::test]
async fn what_is_not_json_is_named() {
    let python = python_or_skip!();
    for (result, place) in [
        ("{'a': [1, object()]}", "result['a'][1] is of type object"),
        ("{'x': float('nan')}", "result['x'] is nan"),
        ("[1e999]", "result[0] is inf"),
        ("{(1, 2): 3}", "result has a key of type tuple"),
        ("loop", "refers back to itself"),
    ] {
        let code = format!("loop = []\nloop.append(loop)\ndef main(p): return {result}");
        let report = python.once(&code).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::NotJson, "{result}: {failed:?}");
        assert!(failed.message.contains(place), "{result}: {failed:?}");
    }
    let deep = "def main(p):\n    x = 1\n    for _ in range(70): x = [x]\n    return x";
    let report = python.once(deep).await;
    assert!(
        failure(&report).message.contains("70 levels"),
        "{:?}",
        failure(&report)
    );
    let report = python.once("def main(p): return ['\\ud800']").await;
    let message = &failure(&report).message;
    assert!(
        message.contains("result[0] holds half a surrogate pair"),
        "{message}"
    );
}

#[tokio::test]
async fn a_huge_result_is_refused() {
    let python = python_or_skip!();
    let just = limits::RESULT_BYTES - 2;
    let report = python
        .once(&format!("def main(p): return 'x' * {just}"))
        .await;
    assert_eq!(report.result.unwrap().as_str().len(), limits::RESULT_BYTES);
    let report = python
        .once(&format!("def main(p): return 'x' * {}", just + 1))
        .await;
    assert_eq!(failure(&report).kind, FailureKind::Limit);
    assert!(
        failure(&report).message.contains("the limit is 1048576"),
        "{:?}",
        failure(&report)
    );
}

#[tokio::test]
async fn logs_keep_their_order() {
    let python = python_or_skip!();
    let code = "import logging, sys\nprint('at load')\ndef main(p):\n    print('one', 1)\n    log('two', level='warning', user=5)\n    print('three', file=sys.stderr)\n    logging.getLogger('x').error('four %s', 4)\n    sys.stdout.buffer.write(b'five\\n')\n    print('six\\nseven')\n    print('eight', end='')";
    let probe = function(code);
    let report = python.call(&probe, json!({})).await;
    let lines: Vec<_> = report
        .logs
        .iter()
        .map(|line| {
            (
                line.level.as_str(),
                line.logger.as_str(),
                line.message.as_str(),
            )
        })
        .collect();
    let expected = [
        ("INFO", "stdout", "at load"),
        ("INFO", "stdout", "one 1"),
        ("WARNING", "function", "two user=5"),
        ("ERROR", "stderr", "three"),
        ("ERROR", "function", "four 4"),
        ("INFO", "stdout", "five"),
        ("INFO", "stdout", "six"),
        ("INFO", "stdout", "seven"),
        ("INFO", "stdout", "eight"),
    ];
    assert_eq!(lines, expected);
    assert!(report.logs.is_sorted_by_key(|line| line.timestamp));
    assert_eq!(
        python.call(&probe, json!({})).await.logs.len(),
        expected.len() - 1
    );
}

#[tokio::test]
async fn requests_to_the_platform_are_answered() {
    let python = python_or_skip!();
    let code = "import threading\ndef main(p, u, sdk):\n    seen = []\n    try:\n        sdk.users.get('bob')\n    except PlatformError as e:\n        seen.append([e.code, e.status, e.message])\n    t = threading.Thread(target=lambda: seen.append(sdk.users.get('ada')['id']))\n    t.start(); t.join()\n    seen.append(sdk.functions.execute('other', {'a': 1}, is_async=True))\n    seen.append(sdk.secrets.get('KEY')['method'])\n    return seen";
    assert_eq!(
        value(&python.once(code).await),
        json!([
            ["NOT_FOUND", 404, "There is no such user"],
            5,
            {"method": "functions.execute",
             "args": {"app_slug": "crm", "function_slug": "other", "params": {"a": 1}, "is_async": true}},
            "secrets.get",
        ])
    );
}

fn source(code: &str) -> Source {
    Source::single(Environment::Python, code)
}

#[tokio::test]
async fn a_source_is_checked_without_being_run() {
    let hosts = EgressHosts::default();
    let python = python_or_skip!();
    for code in [
        "def main(p): pass",
        "async def main(p): pass",
        "main = print",
        "if True:\n    def main(p): pass",
        "\u{feff}raise SystemExit\ndef main(p): pass",
    ] {
        python
            .runtime
            .check(SITE, &source(code), &hosts)
            .await
            .unwrap();
    }
    for (code, message, line, column) in [
        (
            "def main(p):\n    return = 1\n",
            "SyntaxError: invalid syntax",
            Some(2),
            Some(12),
        ),
        (
            "return 1\n",
            "SyntaxError: 'return' outside function",
            Some(1),
            Some(1),
        ),
        ("def other(): pass", "no function named main", None, None),
        (
            "def main(): pass",
            "no positional parameter",
            Some(1),
            Some(1),
        ),
        (
            "def main(a, b, c, d): pass",
            "needs 4 positional parameters",
            Some(1),
            Some(1),
        ),
        (
            "async def main(p, *, key): pass",
            "keyword argument key",
            Some(1),
            Some(1),
        ),
        ("x = 1\0", "null byte", None, None),
    ] {
        let error = python
            .runtime
            .check(SITE, &source(code), &hosts)
            .await
            .unwrap_err();
        let CheckError::Code(CodeError {
            message: found,
            line: at,
            column: on,
            ..
        }) = error
        else {
            panic!("{code}: {error}");
        };
        assert!(found.contains(message), "{code}: {found}");
        assert_eq!((at, on), (line, column), "{code}");
    }
}

#[tokio::test]
async fn a_source_that_is_too_deep_or_too_long_is_refused() {
    let python = python_or_skip!();
    let deep = format!("def main(p): return {}", "(".repeat(100_000));
    assert!(matches!(
        python
            .runtime
            .check(SITE, &source(&deep), &EgressHosts::default())
            .await,
        Err(CheckError::Code(_))
    ));
    let long = "#".repeat(limits::CODE_BYTES + 1);
    let error = python
        .runtime
        .check(SITE, &source(&long), &EgressHosts::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the limit is 524288"), "{error}");
}
