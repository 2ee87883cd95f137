//! Parameters from the command line: a JSON object, or a file that holds one.

use serde_json::Value;
use std::error::Error;

/// Reads `--params`. `@` before a file's name is allowed, as in other tools.
///
/// # Errors
/// When the file cannot be read, or it is no JSON object.
pub(super) fn params(given: Option<&str>) -> Result<Option<Value>, Box<dyn Error + Send + Sync>> {
    let Some(given) = given else { return Ok(None) };
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        let file = given.strip_prefix('@').unwrap_or(given);
        std::fs::read_to_string(file)
            .map_err(|error| format!("--params is no JSON object, and no file {file}: {error}"))?
    };
    let value: Value =
        serde_json::from_str(&text).map_err(|error| format!("--params is not JSON: {error}"))?;
    if !value.is_object() {
        return Err("--params must be a JSON object".into());
    }
    Ok(Some(value))
}
