//! What a function runs, made of what a request gives: code, or an address with its headers.

use super::HeadersChange;
use crate::function::{Environment, ExecutionMode, HIDDEN, Source};
use crate::limits;
use crate::users::FieldError;
use std::collections::BTreeMap;

/// The new headers; a value that was only shown hidden stays what it was.
pub(super) fn new_headers(
    change: Option<HeadersChange>,
    old: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let Some(HeadersChange { values, merges }) = change else {
        return old;
    };
    let mut new = if merges { old.clone() } else { BTreeMap::new() };
    for (name, value) in values {
        let value = match value {
            Some(value) if value == HIDDEN => old.get(&name).cloned().or(Some(value)),
            value => value,
        };
        match value {
            Some(value) => new.insert(name, value),
            None => new.remove(&name),
        };
    }
    new
}

/// What runs, if what was given fits the mode.
pub(super) fn source(
    mode: ExecutionMode,
    environment: Environment,
    code: Option<String>,
    webhook_url: Option<String>,
    headers: BTreeMap<String, String>,
) -> Result<Source, FieldError> {
    match mode {
        ExecutionMode::App => {
            let code = code.filter(|code| !code.trim().is_empty());
            let code = code.ok_or_else(|| FieldError::new("code", "An app function needs code"))?;
            if code.len() > limits::CODE_BYTES {
                let message = format!("Keep it below {} KiB", limits::CODE_BYTES / 1024);
                return Err(FieldError::new("code", message));
            }
            Ok(Source::App {
                environment,
                code: code.into(),
            })
        }
        ExecutionMode::Proxy => {
            let url = webhook_url.filter(|url| {
                let scheme = url.split_once("://").map(|(scheme, _)| scheme);
                url.len() <= limits::URL_BYTES
                    && scheme.is_some_and(|it| {
                        it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("http")
                    })
                    && !url.chars().any(|c| c.is_whitespace() || c.is_control())
            });
            let needed = "A proxy function needs an http or https address";
            let webhook_url = url.ok_or_else(|| FieldError::new("webhook_url", needed))?;
            Ok(Source::Proxy {
                webhook_url,
                headers,
            })
        }
        ExecutionMode::System => Ok(Source::System),
    }
}
