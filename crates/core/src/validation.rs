//! Checking what people send: one message for each field that does not hold.
//!
//! Must never look anything up: what others have is for services to ask.

use crate::draft::Faults;
use crate::error::Error;
use crate::events::{EventSpec, UserShape};
use crate::filter::Filter;
use crate::json::Object;
use crate::{limits, text};
use serde::Serialize;
use std::borrow::Cow;

/// One field that does not hold, for the `errors` of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name; what is within another one follows it after a dot.
    pub field: Cow<'static, str>,
    /// What must change.
    pub message: String,
    /// Where in the field's text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Where in that line, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl FieldError {
    /// One error.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            line: None,
            column: None,
        }
    }
}

/// The slug to use: the given one if it is well-formed, else one made of the name.
pub(crate) fn slug(
    given: Option<String>,
    name: &str,
    faults: &Faults,
    errors: &mut Vec<FieldError>,
) -> String {
    let Some(slug) = given else {
        if faults.concern("slug") {
            return String::new();
        }
        let made = text::slugify(text::prefix(name, limits::NAME_CHARS * 4));
        let made = text::slugify(text::prefix(&made, limits::SLUG_CHARS));
        // A name that is blank was refused as such.
        if made.is_empty() && !name.trim().is_empty() {
            let message = "No slug can be made of this name: use a Latin letter or a digit in it, \
                           or set slug yourself";
            errors.push(FieldError::new("name", message));
        }
        return made;
    };
    if slug.is_empty() || slug.len() > limits::SLUG_CHARS || text::slugify(&slug) != slug {
        let message = format!(
            "Use 1 to {} lower-case letters a to z, digits, single dashes and underscores, and \
             begin and end with a letter or digit",
            limits::SLUG_CHARS
        );
        errors.push(FieldError::new("slug", message));
    }
    slug
}

/// A text of one line: what nobody sees, or what turns its order round, has no place in it.
pub(crate) fn check_line(
    field: &'static str,
    line: &str,
    max_chars: usize,
    errors: &mut Vec<FieldError>,
) {
    check_chars(field, line, max_chars, text::is_control_or_format, errors);
}

/// The same for a text that may have several lines.
pub(crate) fn check_text(
    field: &'static str,
    text: &str,
    max_chars: usize,
    errors: &mut Vec<FieldError>,
) {
    let is_unwanted = |c| text::is_control_or_format(c) && !matches!(c, '\n' | '\r' | '\t');
    check_chars(field, text, max_chars, is_unwanted, errors);
}

fn check_chars(
    field: &'static str,
    text: &str,
    max_chars: usize,
    is_unwanted: impl Fn(char) -> bool,
    errors: &mut Vec<FieldError>,
) {
    if text.chars().count() > max_chars {
        let message = format!("Use at most {max_chars} characters");
        errors.push(FieldError::new(field, message));
    } else if let Some(message) = text::unwanted(text, is_unwanted) {
        errors.push(FieldError::new(field, message));
    }
}

/// Name and description of an app or function, where they are new.
pub(crate) fn check_texts(
    (name, description): (&str, &str),
    before: Option<(&str, &str)>,
    errors: &mut Vec<FieldError>,
) {
    if before.is_none_or(|before| before.0 != name) {
        check_name(name, errors);
    }
    if before.is_none_or(|before| before.1 != description) {
        let most = limits::DESCRIPTION_CHARS;
        check_text("description", description, most, errors);
    }
}

/// The name of a thing.
pub(crate) fn check_name(name: &str, errors: &mut Vec<FieldError>) {
    if name.trim().is_empty() {
        errors.push(FieldError::new("name", "This field may not be blank"));
    } else {
        check_line("name", name, limits::NAME_CHARS, errors);
    }
}

/// A time limit of a function or subscription.
pub(crate) fn check_timeout(seconds: Option<f64>, errors: &mut Vec<FieldError>) {
    let (least, most) = (limits::TIMEOUT_MIN, limits::TIMEOUT_MAX);
    let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
    if seconds.is_some_and(|it| !(it >= least && it <= most)) {
        let message = format!("Use {least} to {most} seconds");
        errors.push(FieldError::new("timeout_seconds", message));
    }
}

/// A filter, for `event` or before it is known.
pub(crate) fn check_filter(
    field: &'static str,
    filter: Option<&str>,
    event: Option<&EventSpec>,
    users: UserShape,
    errors: &mut Vec<FieldError>,
) {
    let compiled = filter.map(|text| Filter::compile(text, event, users));
    if let Some(Err(error)) = compiled {
        let message = match event {
            Some(spec) => format!("For {}: {error}", spec.event),
            None => error.to_string(),
        };
        errors.push(FieldError {
            line: Some(error.line),
            column: Some(error.column),
            ..FieldError::new(field, message)
        });
    }
}

pub(crate) fn check_range(
    field: &'static str,
    value: Option<u32>,
    min: u32,
    max: u32,
    errors: &mut Vec<FieldError>,
) {
    if value.is_some_and(|value| value < min || value > max) {
        errors.push(FieldError::new(field, format!("Use {min} to {max}")));
    }
}

/// What cannot be read would be overwritten with a placeholder, so a change must set it anew. `fields` are
/// those that the change writes, and whether it sets them.
pub(crate) fn check_damaged(
    damaged: &[&'static str],
    fields: &[(&'static str, bool)],
    errors: &mut Vec<FieldError>,
) {
    for (field, is_set) in fields {
        if damaged.contains(field) && !is_set {
            let message = "What is stored here is damaged; set it anew, or restore a backup";
            errors.push(FieldError::new(*field, message));
        }
    }
}

pub(crate) fn refuse(errors: Vec<FieldError>) -> Result<(), Error> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Validation(errors))
    }
}

/// Free-form data: its size, and what a database's text cannot hold.
pub(crate) fn check_object(
    field: &'static str,
    object: &Object,
    max_bytes: usize,
    errors: &mut Vec<FieldError>,
) {
    let json = serde_json::to_string(object).unwrap_or_default();
    if json.len() > max_bytes {
        let message = format!("Keep it below {} KiB", max_bytes / 1024);
        errors.push(FieldError::new(field, message));
    } else if json.contains("\\u0000") {
        errors.push(FieldError::new(field, "Remove the NUL character"));
    }
}
