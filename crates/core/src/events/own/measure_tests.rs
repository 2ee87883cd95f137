//! Schemas that stand for more than they seem to.

use super::*;
use serde_json::json;

fn faults(schema: &Value) -> Vec<(String, String)> {
    let faults = measure(schema).err().unwrap_or_default();
    faults
        .into_iter()
        .map(|fault| (fault.path, fault.message))
        .collect()
}

#[track_caller]
fn assert_refused(schema: &Value, path: &str, words: &str) {
    let found = faults(schema);
    let fits = |(at, message): &(String, String)| at == path && message.contains(words);
    assert!(found.iter().any(fits), "{schema}: {found:?}");
}

#[test]
fn ordinary_schemas_are_followed() {
    let order = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "pattern": "^o-[0-9]+$"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "gift": {"$ref": "#/$defs/line"},
            // A field may have a keyword's name.
            "$ref": {"type": "string"},
            "$id": {"enum": [{"$ref": "https://example.com/"}]},
        },
        "$defs": {"line": {"type": "object", "properties": {"price": {"type": "number"}}}},
        "examples": [{"$id": "x"}],
    });
    let measured = measure(&order).unwrap();
    assert!(measured.nodes > 20 && measured.nodes < 60, "{measured:?}");
    assert!(!measured.alternatives);
    let either = json!({"type": "object", "anyOf": [{}, true]});
    assert!(measure(&either).unwrap().alternatives);
}

/// 2 to the power of 40 schemas in less than 2 KiB.
#[test]
fn a_tree_that_no_memory_holds_is_counted_and_not_made() {
    let mut defs = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"allOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), json!({"type": "string"}));
    let bomb =
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs});
    assert!(bomb.to_string().len() < 4096);
    let found = faults(&bomb);
    assert!(!found.is_empty(), "{found:?}");
    // Less deep it is only too large.
    let mut defs = Map::new();
    for n in 0..20 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"allOf": [next, next]}));
    }
    defs.insert("d20".to_owned(), json!({"type": "string"}));
    let bomb = json!({"type": "object", "$defs": defs});
    assert_refused(&bomb, "", "more than 10000 parts");
}

#[test]
fn what_is_asked_again_counts_again() {
    // Each level would ask the one below it twice and more.
    let mut schema = json!({"type": "object"});
    for _ in 0..12 {
        schema = json!({"unevaluatedProperties": false, "allOf": [schema]});
    }
    assert_refused(&schema, "", "more than 10000 parts");
    let plain = json!({"type": "object", "unevaluatedProperties": false,
        "allOf": [{"properties": {"a": {"type": "string"}}}]});
    assert!(measure(&plain).unwrap().nodes < 30);
}

#[test]
fn a_schema_that_holds_itself_is_refused_wherever_the_circle_is() {
    let circle = "leads back";
    let whole = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
    assert_refused(&whole, "properties.child.$ref", circle);
    let own = json!({"$defs": {"a": {"$ref": "#/$defs/a"}}});
    assert_refused(&own, "$defs.a.$ref", circle);
    let pair = json!({"$defs": {
        "a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}});
    assert_refused(&pair, "$defs.a.items.$ref.not.$ref", circle);
    // Through what is no keyword, and percent-encoded.
    let hidden = json!({"x y": {"items": {"$ref": "#/x%20y"}}, "$ref": "#/x%20y"});
    assert_refused(&hidden, "$ref.items.$ref", circle);
}

#[test]
fn nothing_is_followed_out_of_the_schema() {
    for reference in [
        json!("https://example.com/schema.json"),
        json!("file:///etc/passwd"),
        json!("other.json#/a"),
        json!("/etc/passwd"),
        json!("#name"),
        json!("#/%zz"),
        json!(""),
        json!(7),
    ] {
        let schema = json!({"properties": {"a": {"$ref": reference}}});
        assert_refused(
            &schema,
            "properties.a.$ref",
            "Refer to a part of this schema",
        );
    }
    assert_refused(&json!({"$ref": "#/$defs/none"}), "$ref", "no such part");
    for keyword in REFUSED {
        assert_refused(&json!({keyword: "#x"}), keyword, "not supported");
    }
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#"});
    assert_refused(&old, "$schema", "Only JSON Schema draft 2020-12");
    let within = json!({"properties": {"a": {"$schema": DIALECT}}});
    assert_refused(&within, "properties.a.$schema", "at the top");
}

#[test]
fn depth_is_bounded_with_references_followed() {
    let chain = |length: usize| {
        let mut defs = Map::new();
        for n in 0..length {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), next);
        }
        defs.insert(format!("d{length}"), json!({}));
        json!({"type": "object", "$defs": defs})
    };
    assert_eq!(faults(&chain(limits::EVENT_SCHEMA_DEPTH - 3)), []);
    // As many as fit into a schema.
    for length in [limits::EVENT_SCHEMA_DEPTH, 500] {
        let found = faults(&chain(length));
        assert!(
            found
                .iter()
                .any(|(_, it)| it.contains("nested deeper than 64")),
            "{found:?}"
        );
    }
}

#[test]
fn patterns_are_few_and_small() {
    let large = json!({"properties": {"a": {"pattern": "(a{100}){1000}"}}});
    assert_refused(&large, "properties.a.pattern", "too large");
    let named = json!({"patternProperties": {"(a{100}){1000}": true}});
    assert_refused(&named, "patternProperties.(a{100}){1000}", "too large");
    let many: Map<_, _> = (0..=PATTERNS)
        .map(|n| (format!("^{n}"), json!(true)))
        .collect();
    let found = faults(&json!({"patternProperties": many}));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("at most 20 patterns"), "{found:?}");
}

#[test]
fn all_faults_are_told_but_not_without_end() {
    let wrong: Map<_, _> = (0..200)
        .map(|n| (format!("f{n}"), json!({"$ref": "x"})))
        .collect();
    assert_eq!(
        faults(&json!({"properties": wrong})).len(),
        limits::EVENT_FAULTS
    );
}
