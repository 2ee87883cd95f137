//! The OpenAPI document's `webhooks`: what a `proxy` function's receiver is sent for each event type.
//!
//! Only describes; the requests themselves are made by the runtime.

use serde_json::{Value, json};
use tollgate_core::events::{EventSpec, Phase};
use tollgate_core::platform;
use tollgate_core::request::RequestInfo;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItemBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, PathItem, Paths, RefOr, Required, ResponseBuilder,
};

/// One entry for each event type.
pub(crate) fn webhooks() -> Paths {
    let catalogue = platform::catalogue();
    let specs = catalogue.specs().iter();
    let entries = specs.map(|spec| (spec.event.as_str().to_owned(), delivery(spec)));
    let mut paths = Paths::new();
    paths.paths.extend(entries);
    paths
}

fn delivery(spec: &EventSpec) -> PathItem {
    let event = spec.event;
    let content = ContentBuilder::new()
        .schema(Some(described(&payload(spec))))
        .example(Some(json!({
            "type": event.as_str(),
            "timestamp": "2025-01-15T10:30:00.000000Z",
            "event_id": "01900000-0000-7000-8000-000000000002",
            "request": RequestInfo::sample(),
            "data": spec.sample(),
        })));
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .content("application/json", content.build());
    let taken = match event.phase() {
        Phase::Pre => "It agrees; an object may enrich or refuse",
        Phase::Post => "It is delivered",
    };
    let operation = OperationBuilder::new()
        .tag("webhooks")
        .operation_id(Some(format!("webhook_{}", event.as_str().to_lowercase())))
        .summary(Some(event.as_str()))
        .description(Some(spec.description()))
        .parameters(Some(headers()))
        .request_body(Some(body.build()))
        .response("2XX", ResponseBuilder::new().description(taken).build())
        .securities(Some([]));
    PathItemBuilder::new()
        .operation(HttpMethod::Post, operation.build())
        .build()
}

/// The headers of Standard Webhooks.
fn headers() -> [Parameter; 3] {
    [
        ("webhook-id", "The same on every attempt"),
        (
            "webhook-timestamp",
            "Of this attempt, in seconds since 1970",
        ),
        ("webhook-signature", "Of id, timestamp and body"),
    ]
    .map(|(name, description)| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
            .build()
    })
}

fn payload(spec: &EventSpec) -> Value {
    json!({
        "type": "object",
        "required": ["type", "timestamp", "event_id", "request", "data"],
        "properties": {
            "type": {"type": "string", "enum": [spec.event.as_str()]},
            "timestamp": {"type": "string", "format": "date-time"},
            "event_id": {"type": "string", "format": "uuid"},
            "request": RequestInfo::inline_schema(),
            "data": spec.inline_schema(),
        },
    })
}

/// A JSON Schema in the document's types; they are of the same dialect.
fn described(schema: &Value) -> RefOr<Schema> {
    serde_json::from_value(schema.clone()).unwrap_or_else(|_| Object::new().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_is_described_with_all_its_fields() {
        let document = serde_json::to_value(webhooks()).unwrap();
        for spec in platform::catalogue().specs() {
            let event = spec.event;
            let body = &document[event.as_str()]["post"]["requestBody"]["content"];
            let schema = &body["application/json"]["schema"];
            let data = &schema["properties"]["data"]["properties"];
            let data = data
                .as_object()
                .unwrap_or_else(|| panic!("{event}: {schema}"));
            for field in spec.sample().as_object().unwrap().keys() {
                assert!(data.contains_key(field), "{event} lacks {field}");
            }
            assert!(!body.to_string().contains("$defs"), "{event}");
        }
    }
}
