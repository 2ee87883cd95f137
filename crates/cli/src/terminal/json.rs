//! JSON on its way to standard output.
//!
//! The text is laid out anew and never read into numbers, so that no digit is lost. Inside strings, what could act on
//! a terminal becomes an escape of JSON: the value is the same, and safe to look at.

use super::harmless::acts;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// `text`, which must be JSON, over several lines.
pub(crate) fn pretty(text: &str) -> String {
    lay_out(text, true)
}

/// `text`, which must be JSON, on one line.
pub(crate) fn compact(text: &str) -> String {
    lay_out(text, false)
}

/// The text of the value at `path` in the JSON object `text`, digit by digit as it stands there.
pub(crate) fn part<'t>(text: &'t str, path: &[&str]) -> Option<&'t str> {
    let mut text = text;
    for name in path {
        let object: HashMap<String, &'t RawValue> = serde_json::from_str(text).ok()?;
        text = object.get(*name)?.get();
    }
    Some(text)
}

/// The texts of the values in the JSON array `text`.
pub(crate) fn items(text: &str) -> Vec<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    items.into_iter().map(RawValue::get).collect()
}

/// The JSON object `text` without a member, or with another value of it: a JSON text.
pub(crate) fn with(text: &str, name: &str, value: Option<&str>) -> String {
    let Ok(Members(members)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    let kept = members.iter().filter(|(key, _)| key != name);
    let kept = kept.map(|(key, value)| (key.as_str(), value.get()));
    let new = value.map(|value| (name, value));
    let members: Vec<_> = kept
        .chain(new)
        .map(|(key, value)| format!("{}:{value}", Value::from(key)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// What a JSON text says, to be looked at and not to be shown: numbers may have lost digits, and those that no
/// double holds are null. None for what is no JSON.
pub(crate) fn value(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(_) => loose(text, DEPTH),
    }
}

/// Deeper values are null: the server writes none.
const DEPTH: usize = 100;

fn loose(text: &str, depth: usize) -> Option<Value> {
    let inner = |raw: &RawValue| match depth {
        0 => Some(Value::Null),
        _ => loose(raw.get(), depth - 1),
    };
    let text = text.trim_ascii();
    if text.starts_with('{') {
        let Members(members) = serde_json::from_str(text).ok()?;
        let members = members.into_iter();
        return members
            .map(|(name, raw)| Some((name, inner(raw)?)))
            .collect::<Option<serde_json::Map<_, _>>>()
            .map(Value::Object);
    }
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        return items
            .into_iter()
            .map(inner)
            .collect::<Option<Vec<_>>>()
            .map(Value::Array);
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    Some(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// The members of an object in their order, each as it stands there.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn lay_out(text: &str, over_lines: bool) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                string(&mut letters, &mut out);
            }
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth, over_lines);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth, over_lines);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth, over_lines);
            }
            ':' => out.push_str(if over_lines { ": " } else { ":" }),
            letter if letter.is_ascii_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize, over_lines: bool) {
    if over_lines {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

/// The rest of a string, its end included.
fn string(letters: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                return;
            }
            '\\' => {
                out.push('\\');
                out.extend(letters.next());
            }
            letter if acts(letter) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_exchanged_and_the_rest_stays_as_it_is() {
        let text = r#"{"b":1.0,"a":1e400,"c":[1.10]}"#;
        assert_eq!(with(text, "b", None), r#"{"a":1e400,"c":[1.10]}"#);
        assert_eq!(
            with(text, "d\"", Some("[2.0]")),
            r#"{"b":1.0,"a":1e400,"c":[1.10],"d\"":[2.0]}"#
        );
    }

    #[test]
    fn what_no_double_holds_hides_nothing_else() {
        let text = r#" {"id": 5, "result": [1e400, {"x": -1e999, "y": "z"}], "t": true} "#;
        let seen = json!({"id": 5, "result": [null, {"x": null, "y": "z"}], "t": true});
        assert_eq!(value(text), Some(seen));
        for wrong in ["", "{", "[1e400", "nope", r#"{"a":1e400,}"#] {
            assert_eq!(value(wrong), None, "{wrong}");
        }
        let deep = format!("{}1e400{}", "[".repeat(5000), "]".repeat(5000));
        let _ = value(&deep);
    }

    #[test]
    fn digits_are_kept() {
        let text = r#"{"a":123456789012345678901234567890,"b":[1.10,{}, [] ],"c":1e400}"#;
        let laid_out = pretty(text);
        assert_eq!(
            laid_out,
            "{\n  \"a\": 123456789012345678901234567890,\n  \"b\": [\n    1.10,\n    {},\n    []\n  ],\n  \"c\": 1e400\n}"
        );
        assert_eq!(compact(&laid_out), text.replace(' ', ""));
        assert_eq!(part(text, &["a"]), Some("123456789012345678901234567890"));
        assert_eq!(part(text, &["a", "b"]), None);
        assert_eq!(items("[1.0, \"x\"]"), ["1.0", "\"x\""]);
    }

    #[test]
    fn strings_are_harmless_and_the_same() {
        let value = json!({"a\u{9b}b": "\u{1b}[1m\u{202e}\"\\ \u{e0041}\n\u{7f}é{[,:]}"});
        let text = value.to_string();
        for out in [pretty(&text), compact(&text)] {
            assert!(
                !out.chars().any(|letter| letter != '\n' && acts(letter)),
                "{out}"
            );
            assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), value);
        }
    }

    #[test]
    fn it_looks_as_usual() {
        let value = json!({"x": [1, {"y": null, "z": "a, b: c"}], "empty": {}, "t": true});
        assert_eq!(
            pretty(&value.to_string()),
            serde_json::to_string_pretty(&value).unwrap()
        );
    }
}
