//! A compiled schema, and the faults that it finds.
//!
//! Parameters are shown in no fault: they are somebody's data. Must never begin a check without knowing that
//! it ends in time, nor collect more faults than memory has room for.

use super::measure::{Measure, PATTERN_CACHE_BYTES, measure};
use super::{Fault, shown};
use crate::limits;
use crate::text::prefix;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;
use std::fmt;

/// Longest text that costs as much as one value.
const TEXT_BYTES: usize = 16;
/// Longest message of the library's that is told.
const MESSAGE_BYTES: usize = 300;

/// What checks the parameters of one type.
pub(super) struct Checker {
    validator: Validator,
    measure: Measure,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checker").field(&self.measure).finish()
    }
}

impl Checker {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(schema: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if schema["type"] != "object" {
            let message = "Parameters are an object: the schema must have \"type\": \"object\"";
            faults.push(Fault::new("type", message));
        }
        let measured = measure(schema);
        if let Err(found) = &measured {
            faults.extend(found.iter().cloned());
        }
        if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
            let fault = of_schema(&error);
            if faults.iter().all(|known| known.path != fault.path) {
                faults.push(fault);
            }
        }
        let measure = match measured {
            Ok(measure) if faults.is_empty() => measure,
            _ => return Err(faults),
        };
        let patterns = PatternOptions::regex()
            .size_limit(limits::EVENT_PATTERN_BYTES)
            .dfa_size_limit(PATTERN_CACHE_BYTES);
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns);
        match options.build(schema) {
            Ok(validator) => Ok(Self { validator, measure }),
            Err(error) => Err(vec![of_schema(&error)]),
        }
    }

    /// How much a check of these parameters takes at most.
    pub(super) fn steps(&self, params: &Value) -> u64 {
        self.measure.nodes.saturating_mul(weight(params))
    }

    /// Checks parameters.
    ///
    /// # Errors
    /// Every fault, at least one; of large parameters the first.
    pub(super) fn check(&self, params: &Value) -> Result<(), Vec<Fault>> {
        let steps = self.steps(params);
        if steps > limits::EVENT_CHECK_STEPS {
            let message = "With so many values the check would take too long; publish less at once, or make the schema \
                 simpler";
            return Err(vec![Fault::new("", message)]);
        }
        if self.validator.is_valid(params) {
            return Ok(());
        }
        Err(self.faults(params, steps))
    }

    /// What is wrong with parameters with which something is.
    fn faults(&self, params: &Value, steps: u64) -> Vec<Fault> {
        let mut faults: Vec<Fault> = if steps <= limits::EVENT_CHECK_STEPS_TOLD {
            let all = self.validator.iter_errors(params);
            all.take(limits::EVENT_FAULTS).map(|it| of(&it)).collect()
        } else if self.measure.alternatives {
            // Each alternative would be wrong in as many places as there are values.
            Vec::new()
        } else {
            let first = self.validator.validate(params).err();
            first.iter().map(of).collect()
        };
        if faults.is_empty() {
            let message =
                "They do not fit the type's schema; where they do not is told of smaller ones";
            faults.push(Fault::new("", message));
        }
        faults
    }
}

/// A fault of parameters.
fn of(error: &ValidationError<'_>) -> Fault {
    let message = error.masked_with("this value").to_string();
    Fault::new(path(error.instance_path()), prefix(&message, MESSAGE_BYTES))
}

/// A fault of a schema: what stands in it may be shown.
fn of_schema(error: &ValidationError<'_>) -> Fault {
    let message = error.to_string();
    Fault::new(path(error.instance_path()), prefix(&message, MESSAGE_BYTES))
}

fn path(location: &Location) -> String {
    let parts = location.iter().map(|part| match part {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(index) => index.to_string(),
    });
    let parts: Vec<_> = parts.collect();
    shown(&parts.join(".")).to_owned()
}

/// Values, with the lengths of their texts.
fn weight(value: &Value) -> u64 {
    let text = |text: &str| 1 + u64::try_from(text.len() / TEXT_BYTES).unwrap_or(u64::MAX);
    let inner = match value {
        Value::Array(items) => items.iter().map(weight).fold(0, u64::saturating_add),
        Value::Object(fields) => fields.iter().fold(0, |sum: u64, (name, value)| {
            sum.saturating_add(text(name)).saturating_add(weight(value))
        }),
        Value::String(it) => text(it),
        _ => 0,
    };
    inner.saturating_add(1)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
