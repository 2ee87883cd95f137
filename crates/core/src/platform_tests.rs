//! Goes through the platform's catalogue: no type of it is half described.

use super::catalogue;
use crate::events::Phase;
use serde_json::{Value, json};

/// What of `value` the schema does not accept; none if all of it. It knows what derived schemas use.
fn refused(value: &Value, schema: &Value, root: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = root.pointer(name.trim_start_matches('#')).unwrap();
        return refused(value, schema, root);
    }
    let is = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other}: a type that this test does not know"),
    };
    let fits = match &schema["type"] {
        Value::String(word) => is(word),
        Value::Array(words) => words.iter().any(|word| is(word.as_str().unwrap())),
        _ => schema["anyOf"].as_array().is_none_or(|schemas| {
            let mut schemas = schemas.iter();
            schemas.any(|schema| refused(value, schema, root).is_none())
        }),
    };
    if !fits {
        return Some(format!("{value} is not {schema}"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    let mut missing = required.filter(|it| value.get(it.as_str().unwrap()).is_none());
    if let Some(missing) = missing.next() {
        return Some(format!("{missing} is missing"));
    }
    let items = value.as_array().into_iter().flatten();
    let mut wrong = items.filter_map(|item| refused(item, &schema["items"], root));
    let fields = value.as_object().into_iter().flatten();
    let mut wrong_fields = fields.filter_map(|(name, value)| {
        let known = schema["properties"].get(name);
        match known.or(schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => Some(format!("{name} is not known")),
            Some(schema @ Value::Object(_)) => refused(value, schema, root),
            _ => None,
        }
    });
    wrong.next().or_else(|| wrong_fields.next())
}

#[test]
fn every_type_has_a_sample_that_is_its_own() {
    let catalogue = catalogue();
    assert!(!catalogue.specs().is_empty());
    for spec in catalogue.specs() {
        let (event, sample, schema) = (spec.event, spec.sample(), spec.schema());
        assert_eq!(refused(&sample, &schema, &schema), None, "{event}");
        let read = spec.read(&sample).unwrap();
        assert_eq!(read.event_type(), event);
        assert_eq!(read.params().unwrap().to_value(), sample, "{event}");
        assert!(spec.read(&json!({"none": 1})).is_err(), "{event}");
        assert_eq!(catalogue.find(event.as_str()).unwrap().event, event);
        for field in spec.enrichable {
            assert!(sample.get(field).is_some(), "{event} cannot enrich {field}");
            assert_eq!(event.phase(), Phase::Pre, "{event} enriches");
        }
    }
}

#[test]
fn every_schema_names_the_samples_fields_and_no_password() {
    for spec in catalogue().specs() {
        let (event, schema) = (spec.event, spec.schema());
        let properties = schema["properties"].as_object().unwrap();
        for field in spec.sample().as_object().unwrap().keys() {
            assert!(properties.contains_key(field), "{event} lacks {field}");
        }
        let secret = |name: &str| name.contains("password") || name.contains("token");
        let sample = spec.sample();
        let fields = properties.keys().chain(names(&sample));
        for field in fields {
            assert!(!secret(field), "{event} has {field}");
        }
    }
}

/// The names of all fields, within objects too.
fn names(value: &Value) -> Vec<&String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| std::iter::once(name).chain(names(value)))
            .collect(),
        Value::Array(items) => items.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_test_of_samples_finds_what_does_not_fit() {
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": ["integer", "null"]}, "b": {"items": {"type": "string"}}}});
    for (value, fits) in [
        (json!({"a": 1, "b": ["x"]}), true),
        (json!({"a": null}), true),
        (json!({"a": "1"}), false),
        (json!({"b": []}), false),
        (json!({"a": 1, "b": [1]}), false),
        (json!({"a": 1, "c": 1}), false),
    ] {
        assert_eq!(refused(&value, &schema, &schema).is_none(), fits, "{value}");
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = catalogue().find("INVALID_EVENT").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid event type 'INVALID_EVENT'. Must be one of: PRE_USER_CREATE, \
         POST_USER_CREATE, PRE_USER_UPDATE, POST_USER_UPDATE, PRE_USER_DELETE, \
         POST_USER_DELETE, PRE_LOGIN, POST_LOGIN, POST_LOGIN_FAILED, POST_LOGOUT, \
         PRE_PASSWORD_CHANGE, POST_PASSWORD_CHANGE, POST_PASSWORD_RESET, PRE_ROLE_ASSIGN, \
         POST_ROLE_ASSIGN, PRE_ROLE_REVOKE, POST_ROLE_REVOKE, POST_USER_CREATE_DENIED, \
         POST_USER_UPDATE_DENIED, POST_USER_DELETE_DENIED, POST_LOGIN_DENIED, \
         POST_PASSWORD_CHANGE_DENIED, POST_ROLE_ASSIGN_DENIED, POST_ROLE_REVOKE_DENIED"
    );
}
