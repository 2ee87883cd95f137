//! The operations of a server, from its own OpenAPI document, with paths that lead somewhere.

use crate::support::api::Api;
use serde_json::Value;

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Whether it says that it wants no credential.
    pub(crate) public: bool,
    /// The names of its body's fields; none without a body.
    pub(crate) fields: Option<Vec<String>>,
}

/// What stands in the demo's folder, for the parts of paths.
const PARTS: [(&str, &str); 9] = [
    ("{app_slug}", "user-management"),
    ("{slug}", "validate-user-data"),
    // None is declared.
    ("event-types/{event_name}", "event-types/POST_ABSENT"),
    ("{event_name}", "PRE_USER_CREATE"),
    ("{username}", "admin"),
    ("{version}", "1"),
    ("{task_id}", "00000000-0000-7000-8000-000000000000"),
    ("{id}", "999999"),
    ("{key}", "ABSENT"),
];

/// All operations of the document.
pub(crate) async fn all(api: &Api) -> Vec<Operation> {
    let document = api.get("/api/openapi.json").await.ok();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = PARTS.iter().fold(path.clone(), |path, (name, value)| {
                path.replace(name, value)
            });
            assert!(!path.contains('{'), "what stands for the part of {path}?");
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path,
                public: operation["security"] == serde_json::json!([{}])
                    || operation["security"] == serde_json::json!([]),
                fields: fields(&document, operation),
            });
        }
    }
    assert!(operations.len() > 50, "{}", operations.len());
    operations
}

fn fields(document: &Value, operation: &Value) -> Option<Vec<String>> {
    let mut schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return None;
    }
    for part in schema["oneOf"].as_array().into_iter().flatten() {
        if part["$ref"].is_string() {
            schema = part;
        }
    }
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').unwrap();
        schema = document.pointer(pointer).unwrap();
    }
    let Some(names) = schema["properties"].as_object() else {
        // Whatever the caller likes to keep.
        assert_eq!(*schema, serde_json::json!({"type": "object"}));
        return Some(Vec::new());
    };
    Some(names.keys().cloned().collect())
}
