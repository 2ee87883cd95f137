//! The OpenAPI document.

use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn the_document_is_as_stored() {
    let document = tollgate_server::openapi().to_pretty_json().unwrap();
    insta::with_settings!({snapshot_path => "snapshots"}, {
        insta::assert_snapshot!("openapi", document);
    });
}

#[test]
fn every_operation_has_its_own_id_and_every_reference_leads_somewhere() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(
                ids.insert(id.to_owned()),
                "{method} {path}: {id} is used twice"
            );
        }
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
}

#[test]
fn parameters_have_the_seeds_names_words_are_enums_and_each_operation_says_its_credentials() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    assert_eq!(document.get("security"), None);
    let public = [
        "healthz",
        "readyz",
        "session_open",
        "functions_execute_public",
        "functions_execute_public_get",
        "functions_execute_public_put",
        "functions_execute_public_patch",
        "functions_execute_public_delete",
        "token_obtain",
        "token_refresh",
        "token_blacklist",
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(
            !path.contains("{app}") && !path.contains("{event}"),
            "{path}"
        );
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let security = operation["security"].as_array().unwrap();
            let is_public = public.contains(&id.trim_start_matches("cloud_"));
            let kinds = match id {
                _ if is_public => 0,
                "session_close" => 1,
                _ => 3,
            };
            assert_eq!(security.len(), kinds, "{method} {path}");
        }
    }
    let schemas = &document["components"]["schemas"];
    let words = &schemas["CreateFunction"]["properties"]["execution_mode"]["enum"];
    assert_eq!(words, &serde_json::json!(["app", "proxy", "system", null]));
    let words = &schemas["OptionsView"]["properties"]["on_timeout"]["enum"];
    assert_eq!(words, &serde_json::json!(["deny", "allow"]));
}

#[test]
fn the_document_says_what_bodies_may_be() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let schemas = &document["components"]["schemas"];
    // Any JSON, null as well.
    for (schema, field) in [
        ("ExecuteReply", "data"),
        ("TaskView", "result"),
        ("TaskResultView", "result"),
    ] {
        let any = &schemas[schema]["properties"][field];
        assert!(
            any.is_object() && any.get("type").is_none(),
            "{schema}: {any}"
        );
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(patch) = item.get("patch") else {
            continue;
        };
        // Whatever the function makes of it.
        if path.starts_with("/api/public/") {
            continue;
        }
        let content = patch["requestBody"]["content"].as_object().unwrap();
        assert!(
            content.contains_key("application/merge-patch+json"),
            "{path}"
        );
    }
    for (schema, fields) in [
        ("UpdateUser", &["id", "roles", "last_login"][..]),
        ("UpdateApp", &["id", "slug"]),
        ("UpdateFunction", &["webhook_state", "version"]),
        ("UpdateSecret", &["key", "app"]),
        ("UpdateEventType", &["name", "total_subscribers"]),
        ("ChangeSubscription", &["event", "app_slug"]),
    ] {
        for field in fields {
            let field = &schemas[schema]["properties"][field];
            assert_eq!(field["readOnly"], true, "{schema}: {field}");
        }
    }
    let replay = &document["paths"]["/api/invocations/{id}/replay/"]["post"];
    let names = replay["parameters"].as_array().unwrap().iter();
    assert!(
        names.clone().any(|it| it["name"] == "Idempotency-Key"),
        "{replay}"
    );
}

/// The words of a schema's `enum`, null excepted.
fn words(schema: &Value) -> Option<Vec<&str>> {
    let words = schema["enum"].as_array()?;
    Some(words.iter().filter_map(Value::as_str).collect())
}

/// Calls `look` with every schema of the document and the name that it has there.
fn walk(name: &str, node: &Value, look: &mut impl FnMut(&str, &Value)) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| walk(name, item, look)),
        Value::Object(fields) => {
            look(name, node);
            if let Some(schema) = fields.get("schema") {
                let parameter = fields.get("name").and_then(Value::as_str);
                walk(parameter.unwrap_or(name), schema, look);
            }
            for (key, inner) in fields {
                match key.as_str() {
                    "properties" => {
                        for (field, schema) in inner.as_object().into_iter().flatten() {
                            walk(field, schema, look);
                        }
                    }
                    // Examples are no schemas.
                    "schema" | "enum" | "example" | "examples" => {}
                    "items" => walk(name, inner, look),
                    _ => walk(key, inner, look),
                }
            }
        }
        _ => {}
    }
}

/// Apps declare types of their own, so that no document knows all names.
#[test]
fn event_types_are_any_name_of_their_form() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let schemas = &document["components"]["schemas"];
    for schema in [
        &schemas["SubscriberView"]["properties"]["event"],
        &schemas["InvocationView"]["properties"]["event"],
        &document["paths"]["/api/cloud/events/{event_name}/"]["get"]["parameters"][0]["schema"],
    ] {
        assert_eq!(schema["enum"], Value::Null, "{schema}");
        assert_eq!(schema["pattern"], "^(PRE|POST)_[A-Z0-9_]+$", "{schema}");
        let text = schema["description"].as_str().unwrap();
        assert!(text.contains("PRE_USER_CREATE"), "{schema}");
    }
}

/// Fields and parameters by name that are one of some words wherever they stand. `status` is another
/// set in each of its places; the webhooks' envelope has constants.
#[test]
fn what_is_one_of_some_words_says_which() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let closed = [
        ("acts_as", &["caller", "function"][..]),
        ("Code", &["BAD_REQUEST", "PRE_EVENT_DENIED"]),
        ("environment", &["python", "node"]),
        ("execution_mode", &["app", "proxy", "system"]),
        ("kind", &[]),
        ("level", &["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("logger", &["function", "stdout", "stderr", "tollgate"]),
        ("network", &["none", "egress"]),
        ("on_timeout", &["deny", "allow"]),
        ("ordering", &["id", "-last_login"]),
        ("permissions", &["users.read", "roles.assign"]),
        ("permissions_scope", &["app", "site"]),
        ("phase", &["PRE", "POST"]),
        ("reason", &["filter_failed"]),
        ("state", &[]),
        ("status", &[]),
        ("trigger_type", &["api", "event", "replay"]),
        ("walls", &["system_calls", "memory"]),
        ("wall", &["system_calls", "memory"]),
    ];
    let mut seen = BTreeSet::new();
    let mut look = |name: &str, schema: &Value| {
        let Some((_, some)) = closed.iter().find(|it| it.0 == name) else {
            return;
        };
        let kind = &schema["type"];
        let is_text = kind == "string"
            || kind
                .as_array()
                .is_some_and(|it| it.contains(&"string".into()));
        // What a missing wall is for is told in a sentence of that name.
        if !is_text || (name == "reason" && words(schema).is_none()) {
            return;
        }
        let words = words(schema).unwrap_or_else(|| panic!("{name}: {schema}"));
        // What tells of a refusal names the one event that was refused.
        if name == "event" && words.len() == 1 {
            return;
        }
        assert!(
            some.iter().all(|it| words.contains(it)),
            "{name}: {words:?}"
        );
        seen.insert(name.to_owned());
    };
    walk("", &document, &mut look);
    for (name, _) in &closed {
        assert!(seen.contains(*name), "{name} is nowhere");
    }
}

/// Text that names its words in its description, and not to programs.
#[test]
fn no_text_explains_words_that_it_does_not_list() {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    // Their words are parts of larger texts, or name other fields and their values.
    let free = [
        "slug",
        "roles",
        "tags",
        "rate_limit",
        "If-Match",
        "key",
        "code",
        "message",
    ];
    let mut look = |name: &str, schema: &Value| {
        let is_text = schema["type"] == "string"
            || schema["type"]
                .as_array()
                .is_some_and(|it| it.contains(&"string".into()));
        if !is_text || schema["enum"].is_array() || free.contains(&name) {
            return;
        }
        let description = schema["description"].as_str().unwrap_or_default();
        let quoted = description.matches('`').count() / 2;
        assert!(quoted < 2, "{name}: {description}");
    };
    walk("", &document, &mut look);
}
