//! What a function runs, made of what a request gives: code, or an address with its headers, and the limits
//! around it.

use super::{HeadersChange, check_filter, check_range, check_timeout};
use crate::function::{Environment, ExecutionMode, FunctionOptions, HIDDEN, Source};
use crate::limits;
use crate::rate::Rate;
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

/// Adds what is wrong with limits and conditions.
pub(super) fn check_options(options: &FunctionOptions, errors: &mut Vec<FieldError>) {
    check_timeout(options.timeout_seconds, errors);
    for (field, value, min, max) in [
        ("memory_mb", options.memory_mb, 32, limits::MEMORY_MB_MAX),
        (
            "max_concurrency",
            options.max_concurrency,
            1,
            limits::CONCURRENCY_MAX,
        ),
        (
            "max_attempts",
            options.max_attempts,
            1,
            limits::MAX_ATTEMPTS_MAX,
        ),
    ] {
        check_range(field, value, min, max, errors);
    }
    if let Some(Err(message)) = options.rate_limit.as_deref().map(str::parse::<Rate>) {
        errors.push(FieldError::new("rate_limit", message));
    }
    check_filter(
        "filter_conditions",
        options.filter_conditions.as_deref(),
        None,
        errors,
    );
}
