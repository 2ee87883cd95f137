//! A stored type with what checks its parameters, compiled when it is first asked.

use super::check::Checker;
use super::{Fault, OwnType};
use crate::events::Event;
use crate::json::JsonText;
use crate::limits;
use crate::numbers::{self, Integers};
use crate::strict_json;
use serde::de::Error as _;
use serde_json::Value;
use std::sync::OnceLock;

/// Longest parameters that are looked at on a thread that serves others.
const INLINE_BYTES: usize = 4 * 1024;

/// An event type that an app has declared, ready to check what is published.
#[derive(Debug)]
pub struct Declared {
    own: OwnType,
    checker: OnceLock<Result<Checker, Vec<Fault>>>,
}

impl Declared {
    pub(in crate::events) fn new(own: OwnType) -> Self {
        Self {
            own,
            checker: OnceLock::new(),
        }
    }

    /// What is stored of it.
    pub const fn own_type(&self) -> &OwnType {
        &self.own
    }

    /// Its sample, which was checked when it was declared.
    pub(in crate::events) fn sample_event(&self) -> Event {
        Event::accepted(self.own.event, self.own.sample.clone())
    }

    /// Whether [`Self::accept`] is over at once: if not, it belongs on a thread that serves nobody else.
    pub fn is_quick(&self, params: &JsonText) -> bool {
        let Some(Ok(checker)) = self.checker.get() else {
            return false;
        };
        params.as_str().len() <= INLINE_BYTES
            && checker.steps(&params.to_value()) <= limits::EVENT_CHECK_STEPS_INLINE
    }

    /// The event with these parameters, which are kept as they came.
    ///
    /// # Errors
    /// Every fault, at least one.
    pub fn accept(&self, params: JsonText) -> Result<Event, Vec<Fault>> {
        let value = checked(&params, limits::EVENT_PARAMS_BYTES)?;
        self.checker()?.check(&value)?;
        Ok(Event::accepted(self.own.event, params))
    }

    pub(in crate::events) fn read(&self, params: &Value) -> Result<Event, serde_json::Error> {
        self.accept(JsonText::from(params)).map_err(|faults| {
            let first = faults.into_iter().next();
            let message = first.map_or_else(String::new, |it| format!("{}: {}", it.path, it.message));
            serde_json::Error::custom(message)
        })
    }

    fn checker(&self) -> Result<&Checker, Vec<Fault>> {
        let compiled = self.checker.get_or_init(|| {
            if self.own.damaged.contains(&"params_schema") {
                let message = "What is stored of the type's schema is damaged; set it anew";
                return Err(vec![Fault::new("", message)]);
            }
            // It was checked when it was declared; what a schema may be can have changed since then.
            Checker::of(&self.own.params_schema.to_value()).map_err(|faults| {
                let why = faults.into_iter().next().map(|it| it.message);
                let why = why.unwrap_or_default();
                let message = format!("The type's schema cannot be used any more; set it anew: {why}");
                vec![Fault::new("", message)]
            })
        });
        compiled.as_ref().map_err(Clone::clone)
    }
}

/// An object that can be kept as it came, and read without changing it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn checked(text: &JsonText, most_bytes: usize) -> Result<Value, Vec<Fault>> {
    let fault = |path: &str, message: String| vec![Fault::new(path, message)];
    let json = text.as_str();
    if json.len() > most_bytes {
        let message = format!("Use at most {} KiB of JSON", most_bytes / 1024);
        return Err(fault("", message));
    }
    if !json.starts_with('{') {
        return Err(fault("", "Use an object".to_owned()));
    }
    strict_json::check(json).map_err(|error| fault("", error.to_string()))?;
    numbers::check(json, Integers::Bits64).map_err(|inexact| {
        let message = inexact.to_string();
        fault(&inexact.path, message)
    })?;
    serde_json::from_str(json).map_err(|error| fault("", error.to_string()))
}
