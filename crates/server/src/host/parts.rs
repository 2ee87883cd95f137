//! Arguments that become parts of a path: each is of its type, so that none chooses another route.

use super::{Args, encode, plain, take};
use serde_json::Value;
use tollgate_core::limits;
use tollgate_core::ports::runtime::HostError;
use tollgate_core::text;
use uuid::Uuid;

/// The number of a record.
pub(super) fn number(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|_| digits);
    let number = number.ok_or_else(|| names_nothing(name, &text))?;
    Ok(number.to_string())
}

/// The id of a task.
pub(super) fn task(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    let id: Uuid = text.parse().map_err(|_| names_nothing(name, &text))?;
    Ok(id.to_string())
}

/// The slug of an app or function.
pub(super) fn slug(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    if text.len() <= limits::SLUG_CHARS && text::slugify(&text) == text {
        Ok(text)
    } else {
        Err(names_nothing(name, &text))
    }
}

/// A username or address: any text, of which the path has one part.
pub(super) fn username(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    // Either kind of name; an address is the longer one.
    if text.chars().count() <= limits::EMAIL_CHARS {
        Ok(encode(&text))
    } else {
        Err(names_nothing(name, &text))
    }
}

fn text(args: &mut Args, name: &str) -> Result<String, HostError> {
    match plain(&take(args, name)?) {
        Some(Value::String(text)) if text.is_empty() => {
            Err(HostError::bad_request(format!("{name} is required")))
        }
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(HostError::bad_request(format!("{name} must be text"))),
    }
}

/// As over HTTP: what cannot be the name of anything is the name of nothing.
fn names_nothing(name: &str, text: &str) -> HostError {
    let shown = text::prefix(text, 64);
    HostError::new(
        "NOT_FOUND",
        404,
        format!("Nothing has the {name} '{shown}'"),
    )
}
