//! Event types that apps declare: what is stored of one, and what checks the parameters of its events.
//!
//! Their schemas come from outside. One must never be compiled that was not measured before, nor parameters be
//! checked against it without a look at what that takes.

mod check;
mod declared;
mod measure;

pub use declared::Declared;
pub(crate) use declared::checked;

use super::EventType;
use crate::ids::AppId;
use crate::json::JsonText;
use crate::limits;
use crate::time::Timestamp;
use crate::validation::FieldError;
use serde_json::Value;

/// An event type that an app has declared, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnType {
    /// The type. Its name is unique in the site and never changes.
    pub event: EventType,
    /// The app, whose functions alone publish it.
    pub app: AppId,
    /// The app's name in paths.
    pub app_slug: String,
    /// When it is published, for people.
    pub description: String,
    /// JSON Schema of its parameters, as it was sent.
    pub params_schema: JsonText,
    /// Parameters that the schema accepts, as they were sent.
    pub sample: JsonText,
    /// Functions of the site that are subscribed to it.
    pub total_subscribers: u64,
    /// When it was declared.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// What is wrong at one place of a schema or of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Keys and indices with dots between; empty for the whole.
    pub path: String,
    /// What must change.
    pub message: String,
}

impl Fault {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same about a field that holds the value.
    pub fn of(self, field: &str) -> FieldError {
        let path = match self.path.as_str() {
            "" => field.to_owned(),
            path => format!("{field}.{path}"),
        };
        FieldError::new(path, self.message)
    }
}

/// What is wrong with a JSON Schema that an app declares.
///
/// # Errors
/// Every fault that was found, at least one.
pub fn check_schema(schema: &Value) -> Result<(), Vec<Fault>> {
    check::Checker::of(schema).map(drop)
}

/// What is wrong with a sample of parameters of this schema, which was found good.
///
/// # Errors
/// Every fault, at least one.
pub fn check_sample(schema: &Value, sample: &Value) -> Result<(), Vec<Fault>> {
    check::Checker::of(schema)?.check(sample)
}

/// A path without its end, where that is long.
fn shown(path: &str) -> &str {
    crate::text::prefix(path, limits::FILTER_REASON_BYTES)
}
