//! Parameters from the command line: a JSON object, or a file that holds one.

use serde_json::Value;
use std::error::Error;
use std::path::Path;

/// Reads `--params`. `@` before a file's name is allowed, as in other tools.
///
/// # Errors
/// When the file cannot be read, or it is no JSON object.
pub(super) fn params(given: Option<&str>) -> Result<Option<Value>, Box<dyn Error + Send + Sync>> {
    let Some(given) = given else { return Ok(None) };
    let file = given.strip_prefix('@').unwrap_or(given);
    let text = if Path::new(file).is_file() {
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?
    } else {
        given.to_owned()
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| format!("--params is not JSON, and no file {file}: {error}"))?;
    if !value.is_object() {
        return Err("--params must be a JSON object".into());
    }
    Ok(Some(value))
}
