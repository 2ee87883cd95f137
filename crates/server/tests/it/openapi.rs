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
