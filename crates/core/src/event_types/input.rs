//! What is asked for when a type is declared, and whether it can be stored.

use crate::draft::Faults;
use crate::events::own::{Fault, check_sample, check_schema, checked};
use crate::events::{Catalogue, Phase};
use crate::json::JsonText;
use crate::limits;
use crate::time::Timestamp;
use crate::validation::FieldError;
use serde_json::Value;

/// An event type to be declared.
#[derive(Debug, Clone)]
pub struct DeclareType {
    /// Its name: `POST_`, then capitals, digits and `_`.
    pub name: String,
    /// When it is published, for people.
    pub description: String,
    /// JSON Schema of its parameters.
    pub params_schema: JsonText,
    /// Parameters that the schema accepts.
    pub sample: JsonText,
}

/// New values for an event type; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateType {
    /// When it is published, for people.
    pub description: Option<String>,
    /// JSON Schema of its parameters.
    pub params_schema: Option<JsonText>,
    /// Parameters that the schema accepts.
    pub sample: Option<JsonText>,
    /// Schema and sample are merged into those that are there (RFC 7396).
    pub merges: bool,
    /// When what the change was made for was last changed; another state is not overwritten.
    pub expected: Option<Timestamp>,
}

/// A name for a new type. Nothing is kept of one that is refused.
pub(super) fn check_name(name: &str, catalogue: &Catalogue, errors: &mut Vec<FieldError>) {
    let message = match Phase::of_name(name) {
        _ if catalogue.get(name).is_some() => "The platform itself has an event type with this name".to_owned(),
        Some(Phase::Post) => return,
        Some(Phase::Pre) => {
            "A PRE type can only be declared by the program that publishes it, because somebody must wait for its \
             verdict; begin the name with POST_"
                .to_owned()
        }
        None => format!(
            "Use POST_, then capitals A to Z, digits and _; at most {} characters",
            limits::EVENT_NAME_BYTES
        ),
    };
    errors.push(FieldError::new("name", message));
}

/// Schema and sample, as far as nothing is known to be wrong with each. It may take a while.
pub(super) fn check_shape(schema: &JsonText, sample: &JsonText, known: &Faults) -> Vec<FieldError> {
    let of = |field: &'static str, faults: Vec<Fault>| {
        let faults = faults.into_iter().map(move |fault| fault.of(field));
        faults.collect::<Vec<_>>()
    };
    let mut errors = Vec::new();
    let mut read = |field: &'static str, text: &JsonText| {
        if known.concern(field) {
            return None;
        }
        let read: Result<Value, _> = checked(text, limits::EVENT_SCHEMA_BYTES);
        read.map_err(|faults| errors.extend(of(field, faults))).ok()
    };
    let (schema, sample) = (read("params_schema", schema), read("sample", sample));
    let Some(schema) = schema else { return errors };
    match (check_schema(&schema), sample) {
        (Err(faults), _) => errors.extend(of("params_schema", faults)),
        (Ok(()), Some(sample)) => {
            if let Err(faults) = check_sample(&schema, &sample) {
                errors.extend(of("sample", faults));
            }
        }
        (Ok(()), None) => {}
    }
    errors
}
