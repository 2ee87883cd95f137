//! Values from the command line: a JSON object, or a file that holds one. They are passed on as they were written:
//! reading them into numbers could lose digits.

use crate::AnyError;
use serde_json::value::RawValue;
use std::path::Path;

/// Reads `--params`. `@` before a file's name is allowed, as in other tools.
///
/// # Errors
/// When the file cannot be read, or it is no JSON object.
pub(super) fn params(given: Option<&str>) -> Result<Option<Box<RawValue>>, AnyError> {
    given.map(|given| object("--params", given)).transpose()
}

/// Reads an object that a flag gives.
pub(super) fn object(flag: &str, given: &str) -> Result<Box<RawValue>, AnyError> {
    let file = given.strip_prefix('@').unwrap_or(given);
    let is_file = Path::new(file).is_file();
    let text = if is_file {
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?
    } else {
        given.to_owned()
    };
    let text = text.trim_start_matches('\u{feff}').trim().to_owned();
    let value = RawValue::from_string(text).map_err(|error| {
        if is_file {
            format!("{file} is not JSON: {error}")
        } else {
            format!("{flag} is not JSON, and no file {file}: {error}")
        }
    })?;
    if !value.get().starts_with('{') {
        return Err(format!("{flag} must be a JSON object").into());
    }
    Ok(value)
}
