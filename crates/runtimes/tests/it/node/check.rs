//! What is said of a source before any of it runs, and of a module that does not load.

use super::once;
use crate::support::{Python, SITE, failure, node, python};
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CodeError, Environment, Source};
use tollgate_core::ports::runtime::{CheckError, Runtime as _};
use tollgate_core::tasks::FailureKind;

async fn check(node: &Python, code: &str) -> Result<(), CheckError> {
    let source = Source::single(Environment::Node, code);
    node.runtime
        .check(SITE, &source, &EgressHosts::default())
        .await
}

async fn fault(node: &Python, code: &str) -> CodeError {
    match check(node, code).await {
        Err(CheckError::Code(error)) => error,
        other => panic!("{code}: {other:?}"),
    }
}

#[tokio::test]
async fn a_source_that_does_not_parse_is_refused_with_line_and_column() {
    let Some(node) = node() else { return };
    for (code, line, column, says) in [
        (
            "let x = ;\nmodule.exports = x;",
            1,
            9,
            "Unexpected token ';'",
        ),
        (
            "import fs from 'node:fs';\nexport default function main() {\n  let x = ;\n}",
            3,
            11,
            "Unexpected token ';'",
        ),
        (
            "export { main };\nlet main = () => 1;\nlet main;",
            3,
            5,
            "already been declared",
        ),
        (
            "export default function main() {",
            1,
            33,
            "Unexpected end of input",
        ),
        ("export default (p: string) => p", 1, 18, "TypeScript"),
    ] {
        let fault = fault(&node, code).await;
        assert_eq!(
            (fault.line, fault.column),
            (Some(line), Some(column)),
            "{code}: {fault:?}"
        );
        assert!(fault.message.contains(says), "{code}: {fault:?}");
    }
}

#[tokio::test]
async fn a_source_without_main_is_refused_and_none_is_run() {
    let Some(node) = node() else { return };
    for code in [
        "function main() {}",
        "export function other() {}",
        "export {}",
        "while (true);",
    ] {
        let fault = fault(&node, code).await;
        assert!(
            fault.message.contains("exports no function named main"),
            "{code}: {fault:?}"
        );
    }
    for code in [
        "export default () => 1; while (true);",
        "import { a, b as c } from 'not-there';\nexport const main = () => a;",
        "export * from './elsewhere.mjs';",
        "exports.main = () => 1;",
    ] {
        check(&node, code).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_load_says_why() {
    let Some(node) = node() else { return };
    for (code, message, trace) in [
        (
            "null.x;\nexport default 1;",
            "TypeError: Cannot read properties of null",
            "probe.mjs:1:6",
        ),
        (
            "import 'not-there';\nexport default () => 1;",
            "Cannot find package 'not-there'",
            "",
        ),
        ("export default 5;", "exports no function named main", ""),
        ("module.exports = {};", "exports no function named main", ""),
        (
            "let x = ;",
            "SyntaxError: Unexpected token ';' (line 1)",
            "",
        ),
        (
            "process.exit(1)",
            "process.exit: it was called with 1",
            "probe.cjs:1:9",
        ),
    ] {
        let report = once(&node, code).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, FailureKind::Load, "{code}: {failed:?}");
        assert!(failed.message.contains(message), "{code}: {failed:?}");
        let shown = failed.traceback.as_deref().unwrap_or_default();
        assert!(shown.contains(trace), "{code}: {failed:?}");
    }
    // What loading printed stands before the first call's lines.
    let code = "console.log('loading');\nexport default () => { console.log('calling'); };";
    let report = once(&node, code).await;
    let said: Vec<_> = report
        .logs
        .iter()
        .map(|line| line.message.as_str())
        .collect();
    assert_eq!(said, ["loading", "calling"]);
}

#[tokio::test]
async fn without_node_functions_in_it_are_told_so() {
    let Some(python) = python() else { return };
    match check(&python, "export default () => 1").await {
        Err(CheckError::Unavailable(reason)) => assert!(reason.contains("no Node"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let report = once(&python, "export default () => 1").await;
    let failed = failure(&report);
    assert_eq!(failed.kind, FailureKind::Unavailable, "{failed:?}");
    assert!(failed.message.contains("no Node"), "{failed:?}");
}
