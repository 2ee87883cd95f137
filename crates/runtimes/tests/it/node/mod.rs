//! Functions in Node: what they see, and what becomes of what they return, throw and print.

mod bundles;
mod check;
mod fit;
mod http;
mod life;
mod limits;
mod walls;

use crate::support::{Python, failure, node, node_function, value};
use serde_json::{Value, json};
use tollgate_core::ports::runtime::RunReport;
use tollgate_core::tasks::FailureKind;

/// Runs new code once.
pub(crate) async fn once(node: &Python, code: &str) -> RunReport {
    node.call(&node_function(code), json!({})).await
}

/// What the module and `main` with this body give.
pub(crate) async fn body(node: &Python, body: &str) -> RunReport {
    let code = format!("export default async function main(params, user, client) {{\n{body}\n}}");
    once(node, &code).await
}

/// Level, logger and message of each line.
fn lines(report: &RunReport) -> Value {
    let lines = report.logs.iter();
    lines
        .map(|line| json!([line.level, line.logger, line.message]))
        .collect()
}

#[tokio::test]
async fn returns_what_main_returns_however_it_is_exported() {
    let Some(node) = node() else { return };
    let sum = "(params) => ({sum: params.a + params.b, x: 'é'})";
    for code in [
        format!("export default {sum}"),
        format!("export const main = {sum}"),
        format!("module.exports = {sum}"),
        format!("exports.main = {sum}"),
        format!("module.exports = {{main: {sum}}}"),
        format!("const main = await Promise.resolve({sum});\nexport {{ main }};"),
        format!("#!/usr/bin/env node\nmodule.exports = async {sum}"),
    ] {
        let report = node
            .call(&node_function(&code), json!({"a": 1, "b": 2}))
            .await;
        assert_eq!(value(&report), json!({"sum": 3, "x": "é"}), "{code}");
        assert!(report.worker.starts_with("node-"), "{}", report.worker);
    }
}

#[tokio::test]
async fn main_is_given_parameters_user_and_client() {
    let Some(node) = node() else { return };
    let report = body(
        &node,
        "return [params.__function__, user, (await client.users.get('ada')).id, process.env.TARUVI_SITE_SLUG,
           process.env.TARUVI_USER_EMAIL, Object.keys(process.env)]",
    )
    .await;
    let answer = value(&report);
    assert_eq!(answer[0]["slug"], "probe");
    assert_eq!(answer[0]["event"], "PRE_USER_CREATE");
    assert_eq!(answer[1], json!({"id": 5, "email": "ada@example.com"}));
    assert_eq!(answer[2], 5);
    assert_eq!(answer[3], "acme");
    assert_eq!(answer[4], "ada@example.com");
    for name in answer[5].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let own = ["PATH", "LANG", "HOME", "TMPDIR"];
        let known = name.starts_with("TARUVI_") || own.contains(&name);
        assert!(known, "{name} was inherited");
    }
}

#[tokio::test]
async fn globals_live_on_between_calls() {
    let Some(node) = node() else { return };
    let counter = node_function("let n = 0;\nexport default () => ++n;");
    for expected in 1..=3 {
        assert_eq!(value(&node.call(&counter, json!({})).await), expected);
    }
}

#[tokio::test]
async fn results_become_json_by_the_rules_of_the_guide() {
    let Some(node) = node() else { return };
    let report = body(
        &node,
        "return {date: new Date(0), big: 123456789012345678901n, set: new Set([2, 1]),
           map: new Map([['a', 1], [2, null]]), bytes: Buffer.from('hi'), view: new Uint8Array([104, 105]),
           floats: new Float32Array([1.5]), url: new URL('https://a.b/c'), no: undefined,
           list: [undefined, null], own: new (class { x = 1; toJSON() { return 'own'; } })(), echo: params.big}",
    );
    let expected = r#"{"date":"1970-01-01T00:00:00.000Z","big":123456789012345678901,"set":[2,1],"map":{"a":1,"2":null},"bytes":"aGk=","view":"aGk=","floats":[1.5],"url":"https://a.b/c","list":[null,null],"own":"own"}"#;
    assert_eq!(report.await.result.unwrap().as_str(), expected);
    assert_eq!(value(&body(&node, "").await), Value::Null);
    // What no number holds comes and goes exactly.
    let exact = node_function("export default (p) => [p.big, typeof p.big, p.small, p.text]");
    let params = r#"{"big":9007199254740993,"small":12,"text":"9007199254740993"}"#;
    let params: Value = serde_json::from_str(params).unwrap();
    let report = node.call(&exact, params).await;
    assert_eq!(
        report.result.unwrap().as_str(),
        r#"[9007199254740993,"bigint",12,"9007199254740993"]"#
    );
}

#[tokio::test]
async fn what_is_no_json_is_named_with_its_place() {
    let Some(node) = node() else { return };
    for (result, says) in [
        ("NaN", "result is NaN"),
        ("({a: [1, () => 1]})", "result.a[1] is a function"),
        ("({a: Symbol('x')})", "result.a is a symbol"),
        (
            "({p: Promise.resolve(1)})",
            "result.p is a Promise; await it",
        ),
        ("new Error('x')", "result is an Error"),
        ("[1][Symbol.iterator]()", "result is an iterator"),
        (
            "(() => { const a = []; a.push(a); return a; })()",
            "refers back to itself",
        ),
        ("new Date('x')", "result is an invalid Date"),
        ("'\\ud800'", "half a surrogate pair"),
    ] {
        let report = body(&node, &format!("return {result}")).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::NotJson, "{result}: {failed:?}");
        assert!(failed.message.contains(says), "{result}: {failed:?}");
    }
}

#[tokio::test]
async fn an_error_shows_the_authors_lines_only() {
    let Some(node) = node() else { return };
    let code = "export default async function main(params) {\n  await null;\n  return check(params);\n}\n\nfunction check() {\n  try {\n    null.x;\n  } catch (error) {\n    throw new RangeError('no such thing', { cause: error });\n  }\n}\n";
    let probe = node_function(code);
    let report = node.call(&probe, json!({})).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Exception);
    assert_eq!(failed.message, "RangeError: no such thing");
    let trace = failed.traceback.as_deref().unwrap();
    for line in [
        "RangeError: no such thing\n    at check (probe.mjs:10:11)\n    at main (probe.mjs:3:10)",
        "Caused by: TypeError: Cannot read properties of null (reading 'x')\n    at check (probe.mjs:8:10)",
    ] {
        assert!(trace.contains(line), "{line} is not in {trace}");
    }
    assert!(
        !trace.contains("tollgate") && !trace.contains("node:"),
        "{trace}"
    );
    // The worker is used again.
    assert_eq!(node.call(&probe, json!({})).await.worker, report.worker);
    let report = once(&node, "module.exports = () => { throw 'words'; }").await;
    assert_eq!(
        failure(&report).message,
        "main threw what is no Error: 'words'"
    );
}

#[tokio::test]
async fn what_breaks_beside_main_fails_the_call_and_its_worker_is_replaced() {
    let Some(node) = node() else { return };
    let wait = "await new Promise((done) => setTimeout(done, 5000));";
    for (beside, says) in [
        ("Promise.reject(new Error('lost'));", "Error: lost"),
        (
            "setTimeout(() => { throw new TypeError('later'); });",
            "TypeError: later",
        ),
        ("process.exit(3);", "process.exit: it was called with 3"),
        (
            "setTimeout(() => process.exit());",
            "process.exit: it was called with 0",
        ),
    ] {
        let code = format!(
            "export default async function main(p) {{ if (p.go) {{ {beside} {wait} }} return 1; }}"
        );
        let probe = node_function(&code);
        let report = node.call(&probe, json!({"go": true})).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Exception, "{beside}: {failed:?}");
        assert!(failed.message.starts_with(says), "{beside}: {failed:?}");
        let next = node.call(&probe, json!({})).await;
        assert_eq!(value(&next), 1, "{beside}");
        assert_ne!(next.worker, report.worker, "{beside}");
    }
}

#[tokio::test]
async fn what_is_printed_comes_by_level() {
    let Some(node) = node() else { return };
    let report = body(
        &node,
        "console.log('a', {b: 1});\nconsole.debug('d');\nconsole.warn('w');\nconsole.error('two\\nlines');
         process.stdout.write('one\\ntw');\nprocess.stdout.write('o\\nrest');\nprocess.stderr.write('e\\n');
         log('said', {level: 'warning', user: 5, name: 'x'});\nlog('plain');\nlog('as text', 'error');
         require_free();\nfunction require_free() { console.table; }\nconsole.info('é\\ud800');",
    )
    .await;
    value(&report);
    let expected = json!([
        ["INFO", "stdout", "a { b: 1 }"],
        ["DEBUG", "stdout", "d"],
        ["WARNING", "stderr", "w"],
        ["ERROR", "stderr", "two\nlines"],
        ["INFO", "stdout", "one"],
        ["INFO", "stdout", "two"],
        ["ERROR", "stderr", "e"],
        ["WARNING", "function", "said user=5 name='x'"],
        ["INFO", "function", "plain"],
        ["ERROR", "function", "as text"],
        ["INFO", "stdout", "é\u{fffd}"],
        ["INFO", "stdout", "rest"],
    ]);
    assert_eq!(lines(&report), expected);
}

#[tokio::test]
async fn the_platform_answers_and_refuses_by_promises() {
    let Some(node) = node() else { return };
    let report = body(
        &node,
        "const found = [];
         try { await client.users.get('nobody'); } catch (error) {
           found.push(error instanceof PlatformError, error.code, error.status, error.message);
         }
         found.push(await client.functions.execute('other', {big: 12345678901234567890n}, {isAsync: true}));
         found.push(await client.functions.listInvocations({functionSlug: 'x'}));
         found.push(await client.users.list({isActive: true}));
         found.push(await client.secrets.get('KEY'));
         found.push(await client.events.publish('ORDER_PAID', {id: 1}));
         found.push((await Promise.all(Array.from({length: 40}, () => client.app.roles()))).length);
         return found;",
    )
    .await;
    let expected = r#"[true,"NOT_FOUND",404,"There is no such user",{"method":"functions.execute","args":{"app_slug":"crm","function_slug":"other","params":{"big":12345678901234567890},"is_async":true}},{"method":"functions.list_invocations","args":{"function_slug":"x","limit":100,"offset":0}},{"method":"users.list","args":{"is_active":true}},{"method":"secrets.get","args":{"key":"KEY"}},{"method":"events.publish","args":{"name":"ORDER_PAID","params":{"id":1}}},40]"#;
    let given: Value = serde_json::from_str(report.result.as_ref().unwrap().as_str()).unwrap();
    assert_eq!(given, serde_json::from_str::<Value>(expected).unwrap());
    // What is under way when main returns is given up.
    let report = body(
        &node,
        "client.users.get('ada').then(log, (e) => log(e.message)); return 1",
    )
    .await;
    assert_eq!(value(&report), 1);
}
