//! The types that the check of a filter knows, and where they come from: the event's JSON Schema.
//!
//! Follows references: must only be given schemas that the program derives, or that were measured
//! (`events::own`).

use crate::events::{EventSpec, UserShape};
use crate::request::RequestInfo;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is known of a value before there is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Null,
    Timestamp,
    Duration,
    /// A type used as a value, as in `type(x) == string`.
    Type,
    /// Anything: what is checked is checked at run time.
    Any,
    List(Box<Kind>),
    /// Text keys and values of one kind.
    Map(Box<Kind>),
    /// An object whose fields are known.
    Record(Arc<BTreeMap<String, Kind>>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Type => "type",
            Self::Any => "value",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Record(_) => "object",
        })
    }
}

impl Kind {
    pub(super) const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether a value of this kind may stand where `other` is asked for.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => a.fits(b),
            (Self::Record(_), Self::Map(_)) | (Self::Map(_), Self::Record(_)) => true,
            (a, b) => a == b,
        }
    }

    /// The kind of a value that is one or the other.
    pub(super) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Any }
    }

    /// The kind that a JSON Schema describes.
    fn of_schema(schema: &Value, root: &Value) -> Self {
        let has = |keywords: &[&str]| keywords.iter().any(|it| schema.get(it).is_some());
        if let Some(name) = schema["$ref"].as_str() {
            if has(&["properties", "items"]) || has(&FIELDS_ELSEWHERE) {
                return Self::Any;
            }
            let at = name.trim_start_matches('#');
            return root
                .pointer(at)
                .map_or(Self::Any, |schema| Self::of_schema(schema, root));
        }
        match schema["type"].as_str() {
            Some("boolean") => Self::Bool,
            Some("integer") => Self::Int,
            Some("number") => Self::Double,
            Some("string") => Self::Text,
            Some("array") => Self::List(Box::new(Self::of_schema(&schema["items"], root))),
            // An app's own schema may say in other places, too, which fields there are.
            Some("object") => match schema["properties"].as_object() {
                Some(fields) if !has(&FIELDS_ELSEWHERE) && !is_open(schema) => {
                    Self::Record(Arc::new(
                        fields
                            .iter()
                            .map(|(name, schema)| (name.clone(), Self::of_schema(schema, root)))
                            .collect(),
                    ))
                }
                _ => Self::Map(Box::new(Self::Any)),
            },
            // Several types, as for what may be null.
            Some(_) | None => Self::Any,
        }
    }
}

/// Keywords beside `properties` that may name further fields.
const FIELDS_ELSEWHERE: [&str; 6] = [
    "allOf",
    "anyOf",
    "dependentSchemas",
    "if",
    "oneOf",
    "patternProperties",
];

/// Whether a schema says that there are fields which it does not name.
fn is_open(schema: &Value) -> bool {
    let others = [
        &schema["additionalProperties"],
        &schema["unevaluatedProperties"],
    ];
    others
        .iter()
        .any(|it| it.is_object() || it.as_bool() == Some(true))
}

/// The name that a filter calls `event`.
pub(super) fn event(event: Option<&EventSpec>) -> Kind {
    let params = event.map_or(Kind::Any, |event| {
        let schema = event.schema();
        Kind::of_schema(&schema, &schema)
    });
    let mut fields = BTreeMap::from([("type".to_owned(), Kind::Text)]);
    match &params {
        Kind::Record(known) => {
            if let Some(previous) = known.get("previous") {
                fields.insert("previous".to_owned(), previous.clone());
            }
        }
        _ => {
            fields.insert("previous".to_owned(), Kind::Any);
        }
    }
    fields.insert("params".to_owned(), params);
    fields.insert("request".to_owned(), of_type::<RequestInfo>());
    Kind::Record(Arc::new(fields))
}

/// The name that a filter calls `user`.
pub(super) fn user(users: UserShape) -> Kind {
    users
        .schema()
        .map_or(Kind::Any, |schema| Kind::of_schema(&schema, &schema))
}

fn of_type<T: JsonSchema>() -> Kind {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let schema = generator.into_root_schema_for::<T>().to_value();
    Kind::of_schema(&schema, &schema)
}
