//! What a schema accepts, and what is told of what it does not.

use super::*;
use serde_json::json;

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "string", "pattern": "^o-\\d+$", "format": "uuid"},
            "total": {"type": "number", "minimum": 0},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
    })
}

fn faults(schema: &Value, params: &Value) -> Vec<(String, String)> {
    let checker = Checker::of(schema).unwrap();
    let faults = checker.check(params).err().unwrap_or_default();
    faults
        .into_iter()
        .map(|fault| (fault.path, fault.message))
        .collect()
}

#[track_caller]
fn assert_no_schema(schema: &Value, path: &str, words: &str) {
    let found = Checker::of(schema).unwrap_err();
    let fits = |fault: &Fault| fault.path == path && fault.message.contains(words);
    assert!(found.iter().any(fits), "{schema}: {found:?}");
}

#[test]
fn what_fits_is_accepted_and_formats_are_not_asserted() {
    let good = json!({"id": "o-12", "total": 3.5, "lines": [{"sku": "a"}, {"sku": "b", "n": 1}]});
    assert_eq!(faults(&order(), &good), []);
}

#[test]
fn all_faults_are_told_with_their_paths_and_without_the_values() {
    let bad =
        json!({"id": "canary-1", "total": -1, "lines": [{"sku": "a"}, {"sku": 7}, {}], "x": 1});
    let found = faults(&order(), &bad);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    for path in ["id", "total", "lines.1.sku", "lines.2", ""] {
        assert!(paths.contains(&path), "{path}: {found:?}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(
        found.iter().all(|(_, message)| !message.contains("canary")),
        "{found:?}"
    );
}

#[test]
fn what_is_no_schema_is_told_by_its_place() {
    assert_no_schema(&json!({"type": "array"}), "type", "\"type\": \"object\"");
    assert_no_schema(
        &json!({"type": ["object", "null"]}),
        "type",
        "\"type\": \"object\"",
    );
    assert_no_schema(
        &json!({"properties": {"a": {"$ref": "#"}}}),
        "type",
        "object",
    );
    let wrong = json!({"type": "object", "properties": {"a": {"type": "text"}}});
    assert_no_schema(&wrong, "properties.a.type", "text");
    let wrong = json!({"type": "object", "required": "a"});
    assert_no_schema(&wrong, "required", "array");
    // What looks back or around takes more than linear time.
    for pattern in ["(a)\\1", "(?=a)b*(?!c)", "("] {
        let wrong = json!({"type": "object", "properties": {"a": {"pattern": pattern}}});
        let found = Checker::of(&wrong);
        if pattern != "(?=a)b*(?!c)" {
            assert!(found.is_err(), "{pattern}");
        }
    }
}

#[test]
fn patterns_take_linear_time() {
    let schema = json!({"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}});
    let checker = Checker::of(&schema).unwrap();
    let evil = format!("{}!", "a".repeat(50_000));
    assert!(checker.check(&json!({"a": evil})).is_err());
}

#[test]
fn a_check_that_would_take_too_long_is_not_begun() {
    let all: Vec<_> = (0..2000).map(|_| json!({"type": "string"})).collect();
    let schema = json!({"type": "object", "properties": {"a": {"items": {"allOf": all}}}});
    let checker = Checker::of(&schema).unwrap();
    let many = |count: usize| json!({"a": vec![1; count]});
    let found = checker.check(&many(10_000)).unwrap_err();
    assert!(found[0].message.contains("too long"), "{found:?}");
    // Of many values the first fault is told, else there would be millions.
    let found = checker.check(&many(1_000)).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "a.0");
    let few = checker.check(&many(10)).unwrap_err();
    assert_eq!(few.len(), limits::EVENT_FAULTS);
}

#[test]
fn of_large_alternatives_nothing_is_collected() {
    let any: Vec<_> = (0..500).map(|_| json!({"type": "string"})).collect();
    let schema = json!({"type": "object", "properties": {"a": {"items": {"anyOf": any}}}});
    let checker = Checker::of(&schema).unwrap();
    let found = checker.check(&json!({"a": vec![1; 1_000]})).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("do not fit"), "{found:?}");
}
