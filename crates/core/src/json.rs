//! JSON that is carried as text: parsed once at the edge, passed on without being rebuilt.
//!
//! Must never hold text that is not JSON: the only ways in are parsing and serialising.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

/// One JSON value as text. Cloning is cheap.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Arc<RawValue>);

impl JsonText {
    /// Serialises `value`.
    ///
    /// # Errors
    /// When `value`'s `Serialize` fails, for example for a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(to_raw_value(value)?.into()))
    }

    /// Checks that `text` is one JSON value and takes it.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        Ok(Self(RawValue::from_string(text)?.into()))
    }

    /// The value `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads the text into `T`.
    ///
    /// # Errors
    /// When the value has another shape.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// The value as a tree. Text nested deeper than serde_json's 128 levels gives `null`.
    pub fn to_value(&self) -> Value {
        self.read().unwrap_or(Value::Null)
    }
}

impl From<Box<RawValue>> for JsonText {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

impl From<&Value> for JsonText {
    fn from(value: &Value) -> Self {
        // A `Value`'s keys are strings, so serialising it cannot fail.
        Self::of(value).unwrap_or_else(|_| Self::null())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// Applies a JSON merge patch (RFC 7396, section 2) to `target`.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// New values for a free-form object.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange {
    /// These, and no others.
    Replace(serde_json::Map<String, Value>),
    /// These beside what is there; `null` removes (RFC 7396).
    Merge(serde_json::Map<String, Value>),
}

impl ObjectChange {
    /// The object with the change in place.
    pub fn applied_to(self, old: serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
        let patch = match self {
            Self::Replace(new) => return new,
            Self::Merge(patch) => patch,
        };
        let mut merged = Value::Object(old);
        merge_patch(&mut merged, &Value::Object(patch));
        match merged {
            Value::Object(merged) => merged,
            // An object merged into an object is one.
            _ => serde_json::Map::new(),
        }
    }
}

/// What differs between two values, by dotted path: `{"attributes.plan": {"from": …, "to": …}}`.
/// Objects are compared field by field, everything else as a whole; what is absent is `null`.
pub fn changes(from: &Value, to: &Value) -> serde_json::Map<String, Value> {
    let mut found = serde_json::Map::new();
    compare(&mut String::new(), from, to, &mut found);
    found
}

fn compare(
    path: &mut String,
    from: &Value,
    to: &Value,
    found: &mut serde_json::Map<String, Value>,
) {
    if from == to {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        found.insert(path.clone(), serde_json::json!({"from": from, "to": to}));
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        let value =
            |of: &'_ serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
        compare(path, &value(old), &value(new), found);
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The test cases of RFC 7396, appendix A.
    #[test]
    fn merge_patch_follows_the_rfc() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ];
        for (mut target, patch, expected) in cases {
            merge_patch(&mut target, &patch);
            assert_eq!(target, expected, "patch {patch}");
        }
    }

    #[test]
    fn changes_are_named_by_their_paths() {
        let from = json!({"a": 1, "b": {"c": 1, "d": {"e": 2}}, "same": [1]});
        let to = json!({"a": 2, "b": {"d": {"e": 3}, "f": null, "g": [1]}, "same": [1]});
        let expected = json!({
            "a": {"from": 1, "to": 2},
            "b.c": {"from": 1, "to": null},
            "b.d.e": {"from": 2, "to": 3},
            "b.g": {"from": null, "to": [1]},
        });
        assert_eq!(Value::Object(changes(&from, &to)), expected);
        assert!(changes(&to, &to).is_empty());
        let whole = json!({"": {"from": 1, "to": {}}});
        assert_eq!(Value::Object(changes(&json!(1), &json!({}))), whole);
    }

    #[test]
    fn only_json_gets_in() {
        assert!(JsonText::parse("{\"a\": 1}".into()).is_ok());
        assert!(JsonText::parse("{a: 1}".into()).is_err());
        assert!(JsonText::parse("1 2".into()).is_err());
    }
}
