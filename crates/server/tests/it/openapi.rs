//! The OpenAPI document.

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
            assert_eq!(
                security.len(),
                if is_public { 0 } else { 3 },
                "{method} {path}"
            );
        }
    }
    let schemas = &document["components"]["schemas"];
    let words = &schemas["CreateFunction"]["properties"]["execution_mode"]["enum"];
    assert_eq!(words, &serde_json::json!(["app", "proxy", "system"]));
    let words = &schemas["OptionsView"]["properties"]["on_timeout"]["enum"];
    assert_eq!(words, &serde_json::json!(["deny", "allow"]));
}
