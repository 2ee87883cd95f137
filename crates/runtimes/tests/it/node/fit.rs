//! A worker is fit for the next call, or gone.

use crate::poll::eventually;
use crate::support::{node, node_function, value};
use serde_json::{Value, json};

/// What the second call finds, by a module with this top and this end of `main`; and whether it was the same worker.
async fn found(top: &str, first: &str, then: &str) -> Option<(Value, bool)> {
    let node = node()?;
    let code = format!(
        "import fs from 'node:fs';\n{top}\nlet calls = 0;\nexport default async function main() {{\n  if (calls++ === 0) {{ {first} }}\n  {then}\n}}"
    );
    let probe = node_function(&code);
    let before = node.call(&probe, json!({})).await;
    value(&before);
    let after = node.call(&probe, json!({})).await;
    Some((value(&after), before.worker == after.worker))
}

#[tokio::test]
async fn what_a_call_left_is_put_back() {
    for (top, first, then, expected) in [
        (
            "const home = process.cwd();",
            "process.chdir('/');",
            "return process.cwd() === home;",
            json!(true),
        ),
        (
            "",
            "process.env.LEFT = 'x'; process.env.TZ = 'Asia/Tokyo';",
            "return [process.env.LEFT ?? null, new Date(0).getHours()];",
            json!([null, 0]),
        ),
        (
            "",
            "process.env = {};",
            "return process.env.TARUVI_TENANT;",
            json!("acme"),
        ),
        (
            "",
            "delete process.env.TARUVI_TENANT;",
            "return process.env.TARUVI_TENANT;",
            json!("acme"),
        ),
        (
            "fs.writeFileSync('kept', 'x');",
            "fs.mkdirSync('a/b', {recursive: true}); fs.writeFileSync('a/b/c', 'x');",
            "return fs.readdirSync('.').filter((name) => name[0] !== '.');",
            json!(["kept"]),
        ),
        (
            "let fired = 0;",
            "setInterval(() => fired++, 1); setImmediate(() => fired++); return null;",
            "await new Promise((done) => setTimeout(done, 30)); return fired;",
            json!(0),
        ),
        (
            "let fired = 0; setInterval(() => fired++, 1);",
            "",
            "await new Promise((done) => setTimeout(done, 30)); return fired;",
            json!(0),
        ),
        (
            "const heard = []; process.on('custom', () => heard.push('kept'));",
            "process.on('custom', () => heard.push('left')); return null;",
            "process.emit('custom'); return heard;",
            json!(["kept"]),
        ),
    ] {
        let Some((answer, same)) = found(top, first, then).await else {
            return;
        };
        assert_eq!(answer, expected, "{first}");
        assert!(same, "{first}");
    }
}

#[tokio::test]
async fn who_leaves_work_behind_is_replaced() {
    for first in [
        "import('node:timers/promises').then((it) => it.setTimeout(60000)); await new Promise((done) => setTimeout(done, 20));",
        "const go = () => fs.stat('/', go); go();",
        "for (let i = 0; i < 20; i++) fs.openSync('/dev/null');",
        "globalThis.kept = new Array(18e6).fill(0.5);",
        "fs.rmSync('made', {recursive: true});",
    ] {
        let Some((_, same)) = found("fs.mkdirSync('made');", first, "return 1;").await else {
            return;
        };
        assert!(!same, "{first}");
    }
}

#[tokio::test]
async fn a_module_that_works_between_calls_gets_no_time_then() {
    let Some(node) = node() else { return };
    // Past what is seen of timers: a chain of promises through the thread pool.
    let code = "import fs from 'node:fs';\nlet steps = 0;\nconst go = () => fs.stat('/', () => { steps++; go(); });\ngo();\nexport default async () => { await new Promise((done) => setTimeout(done, 20)); return [steps, process.pid]; };";
    let probe = node_function(code);
    let first = value(&node.call(&probe, json!({})).await);
    let process = node.process(first[1].as_i64().unwrap());
    eventually("it is stopped", || process.is_stopped()).await;
    // And goes on with the next call.
    let second = value(&node.call(&probe, json!({})).await);
    assert!(second[0].as_i64() > first[0].as_i64(), "{first} {second}");
    eventually("it is stopped again", || process.is_stopped()).await;
}
