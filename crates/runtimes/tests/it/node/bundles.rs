//! Versions of several files in Node, and what a module has at its top.

use crate::bundles::{House, house_of};
use crate::support::{failure, node, node_with, value};
use serde_json::json;
use tollgate_core::functions::Environment;
use tollgate_core::tasks::FailureKind;

fn house() -> Option<House> {
    Some(house_of(node()?, Environment::Node))
}

const MAIN: &[u8] = br#"
import { readFileSync } from 'node:fs';
import { greeting } from './lib/texts.mjs';
import old from './lib/old.cjs';

const here = new URL('.', import.meta.url);
let calls = 0;

export default async function main(params) {
  calls += 1;
  return {
    beside: readFileSync(new URL('mail.txt', here), 'utf8'), bytes: [...readFileSync(new URL('data.bin', here))],
    names: [greeting, old.name, (await import('./lib/late.mjs')).late], calls,
  };
}
"#;

#[tokio::test]
async fn modules_and_data_lie_beside_the_code() {
    let Some(house) = house() else { return };
    let files: &[(&str, &[u8])] = &[
        ("main.mjs", MAIN),
        ("lib/texts.mjs", b"export const greeting = 'hello';\n"),
        (
            "lib/old.cjs",
            b"module.exports = { name: require('./inner.js').name };\n",
        ),
        ("lib/inner.js", b"exports.name = 'old';\n"),
        ("lib/late.mjs", b"export const late = 'late';\n"),
        ("mail.txt", "Dear \u{fc}\n".as_bytes()),
        ("data.bin", &[0, 255, 10]),
    ];
    let function = house.function(None, files);
    for calls in 1..=3 {
        let report = house.python.call(&function, json!({})).await;
        let expected = json!({
            "beside": "Dear \u{fc}\n", "bytes": [0, 255, 10], "names": ["hello", "old", "late"],
            "calls": calls,
        });
        assert_eq!(value(&report), expected);
    }
}

#[tokio::test]
async fn the_entry_point_may_be_any_function_of_any_module() {
    let Some(house) = house() else { return };
    for (file, code) in [
        (
            "app/hooks.mjs",
            "export const onSignup = (params, user) => user.id;",
        ),
        (
            "app/hooks.cjs",
            "exports.onSignup = (params, user) => user.id;",
        ),
        (
            "app/hooks.js",
            "export function onSignup(params, user) { return user.id; }",
        ),
        (
            "app/hooks.js",
            "exports.onSignup = (params, user) => user.id;",
        ),
        (
            "app/hooks.mjs",
            "export default { onSignup: (params, user) => user.id };",
        ),
    ] {
        let files = [(file, code.as_bytes())];
        let function = house.function(Some("app.hooks:onSignup"), &files);
        let report = house.python.call(&function, json!({})).await;
        assert_eq!(value(&report), json!(5), "{code}");
    }
    let files: [(&str, &[u8]); 1] = [("main.mjs", b"export const other = 1;\n")];
    let report = house
        .python
        .call(&house.function(None, &files), json!({}))
        .await;
    assert_eq!(failure(&report).kind, FailureKind::Load);
    assert!(
        failure(&report).message.contains("no function named main"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_stack_names_the_files_as_their_author_does() {
    let Some(house) = house() else { return };
    let files: &[(&str, &[u8])] = &[
        ("main.mjs", b"import { half } from './lib/work.mjs';\n\nexport default (params) => half(params.of);\n"),
        ("lib/work.mjs", b"export function half(of) {\n  return of.missing.part;\n}\n"),
    ];
    let report = house
        .python
        .call(&house.function(None, files), json!({"of": 0}))
        .await;
    let trace = failure(&report).traceback.as_deref().unwrap();
    for line in ["lib/work.mjs:2:", "main.mjs:3:"] {
        assert!(trace.contains(line), "{trace}");
    }
    assert!(!trace.contains(".function/"), "{trace}");
}

#[tokio::test]
async fn files_are_read_only() {
    let Some(house) = house() else { return };
    let main = br#"
import fs from 'node:fs';
import path from 'node:path';
const here = path.dirname(new URL(import.meta.url).pathname);
export default () => {
  const attempts = [
    () => fs.writeFileSync(path.join(here, 'main.mjs'), 'x'),
    () => fs.writeFileSync(path.join(here, 'new.txt'), 'x'),
    () => fs.unlinkSync(path.join(here, 'main.mjs')),
  ];
  const refused = attempts.map((attempt) => {
    try { attempt(); return 'done'; } catch (error) { return error.code; }
  });
  fs.writeFileSync('own.txt', 'scratch is writable');
  return refused;
};
"#;
    let function = house.function(None, &[("main.mjs", main)]);
    let report = house.python.call(&function, json!({})).await;
    assert_eq!(value(&report), json!(["EACCES", "EACCES", "EACCES"]));
}

#[tokio::test]
async fn what_does_not_load_says_in_which_file() {
    let Some(house) = house() else { return };
    for (lib, says) in [
        ("export const x = (;\n", "SyntaxError"),
        ("import 'absent';\nexport const x = 1;\n", "absent"),
        ("throw new Error('at the top');\n", "at the top"),
    ] {
        let main = b"import './lib.mjs';\nexport default () => 1;\n";
        let files = [("main.mjs", &main[..]), ("lib.mjs", lib.as_bytes())];
        let report = house
            .python
            .call(&house.function(None, &files), json!({}))
            .await;
        let failure = failure(&report);
        assert_eq!(failure.kind, FailureKind::Load, "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
    }
}

#[tokio::test]
async fn variables_are_there_at_the_top_of_the_module() {
    let Some(house) = house() else { return };
    house.set("KEY", "value");
    let main = b"const key = process.env.KEY;\nexport default () => [key, process.env.KEY];\n";
    let function = house.function(None, &[("main.mjs", main)]);
    let report = house.python.call(&function, json!({})).await;
    assert_eq!(value(&report), json!(["value", "value"]));
}

#[tokio::test]
async fn without_walls_each_version_still_has_its_own_files() {
    let Some(node) = node_with(|config| config.sandbox = false) else {
        return;
    };
    let house = house_of(node, Environment::Node);
    for word in ["one", "two", "three"] {
        let main = b"import { word } from './texts.mjs';\nexport default () => word;\n";
        let texts = format!("export const word = '{word}';\n");
        let files = [("main.mjs", &main[..]), ("texts.mjs", texts.as_bytes())];
        let report = house
            .python
            .call(&house.function(None, &files), json!({}))
            .await;
        assert_eq!(value(&report), json!(word));
    }
}
