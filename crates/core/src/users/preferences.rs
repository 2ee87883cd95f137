//! What people set for themselves, in the clients that they use: time zone, theme and the like.
//!
//! Must never decide about a right or reach a function's rules: it is whatever its owner writes.

use crate::json::{Object, merge_patch};
use crate::limits;
use crate::validation::{FieldError, check_object};
use serde_json::{Value, json};

/// What somebody has set.
#[derive(Debug, Clone, PartialEq)]
pub struct Preferences {
    /// By name.
    pub set: Object,
    /// What was set cannot be read, and counts as nothing.
    pub is_damaged: bool,
}

/// A change of somebody's preferences.
#[derive(Debug, Clone)]
pub enum PreferencesChange {
    /// The fields that are given, each as a whole; the others stay. Null takes a field away.
    Set(Object),
    /// A merge patch (RFC 7396).
    Merge(Object),
}

impl PreferencesChange {
    /// What stands there afterwards.
    ///
    /// # Errors
    /// [`FieldError`] when that is too much.
    pub fn applied_to(&self, before: Object) -> Result<Object, FieldError> {
        let after = match self {
            Self::Set(fields) => {
                let mut after = before;
                for (name, value) in fields {
                    if value.is_null() {
                        after.remove(name);
                    } else {
                        after.insert(name.clone(), value.clone());
                    }
                }
                after
            }
            Self::Merge(patch) => {
                let mut after = Value::Object(before);
                merge_patch(&mut after, &Value::Object(patch.clone()));
                match after {
                    Value::Object(after) => after,
                    _ => Object::new(),
                }
            }
        };
        let mut errors = Vec::new();
        let most = limits::PREFERENCES_BYTES;
        check_object("preferences", &after, most, &mut errors);
        errors.pop().map_or(Ok(after), Err)
    }
}

/// With what existing clients expect to find, where it is not set.
pub(super) fn shown(set: Object) -> Object {
    let defaults = json!({
        "date_format": "YYYY-MM-DD",
        "time_format": "24h",
        "timezone": "UTC",
        "theme": "light",
        "widget_config": {},
    });
    let Value::Object(mut shown) = defaults else {
        return set;
    };
    shown.extend(set);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn fields_are_set_as_a_whole_or_merged() {
        let before = || object(json!({"theme": "dark", "w": {"a": 1, "b": 2}}));
        let patch = || object(json!({"theme": null, "w": {"a": null, "c": 3}}));
        let set = PreferencesChange::Set(patch())
            .applied_to(before())
            .unwrap();
        assert_eq!(Value::Object(set), json!({"w": {"a": null, "c": 3}}));
        let merged = PreferencesChange::Merge(patch())
            .applied_to(before())
            .unwrap();
        assert_eq!(Value::Object(merged), json!({"w": {"b": 2, "c": 3}}));
    }

    #[test]
    fn they_are_bounded_as_they_will_stand() {
        let half = "x".repeat(limits::PREFERENCES_BYTES / 2);
        let set = |name: &str| PreferencesChange::Set(object(json!({name: half})));
        let once = set("a").applied_to(Object::new()).unwrap();
        let error = set("b").applied_to(once).unwrap_err();
        assert_eq!(error.field, "preferences");
        let nul = PreferencesChange::Merge(object(json!({"a": "\0"})));
        nul.applied_to(Object::new()).unwrap_err();
    }
}
