//! The check that JSON passes before it is read into a type: every body, and what a function would
//! change.
//!
//! serde would take the last of two equal keys, look only half into values that are carried as
//! text, and store a NUL. This walk builds nothing, so it costs little beside the real parse.

use crate::limits;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Objects with more keys than this look for duplicates in a set.
const FEW_KEYS: usize = 16;

/// Checks that `text` is one JSON value that may be stored: not too deep, no key twice, no NUL, no
/// half of a surrogate pair, no number out of range.
///
/// # Errors
/// What is wrong, with line and column.
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    Walk { depth: 0 }.deserialize(&mut parser)?;
    parser.end()
}

#[derive(Clone, Copy)]
struct Walk {
    depth: usize,
}

impl Walk {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= limits::JSON_DEPTH {
            return Err(E::custom(format_args!(
                "nested deeper than {} levels",
                limits::JSON_DEPTH
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

fn no_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if text.as_bytes().contains(&0) {
        return Err(E::custom("the NUL character is not allowed"));
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        no_nul(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        let mut keys = Keys::default();
        while let Some(key) = entries.next_key_seed(Key)? {
            no_nul(&key)?;
            // serde_json would take the value of such a key for the whole object.
            if key.starts_with("$serde_json::private::") {
                return Err(de::Error::custom("this key is reserved"));
            }
            if !keys.insert(key) {
                return Err(de::Error::custom(
                    "the same key appears twice in one object",
                ));
            }
            entries.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// Reads a key without copying it where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The keys of one object: compared one by one while they are few.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// False when the key is there already.
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.many.is_empty() && self.few.len() < FEW_KEYS {
            let new = !self.few.contains(&key);
            self.few.push(key);
            return new;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_json_passes() {
        let many = (0..200)
            .map(|n| format!("\"k{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",");
        for text in [
            "null",
            "{}",
            r#"{"a":{"a":[1,2.5,-3e4,true,"\ud83d\ude00",{"a":null}]},"b":"a"}"#,
            &format!("{{{many}}}"),
            &format!("{}{}", "[".repeat(64), "]".repeat(64)),
            "9223372036854775807",
        ] {
            check(text).unwrap();
        }
    }

    #[test]
    fn what_could_not_be_stored_or_means_two_things_is_refused() {
        let many = (0..200)
            .map(|n| format!("\"k{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",");
        for (text, reason) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("{} {}", "trailing"),
            ("{a:1}", "key must be a string"),
            ("[1,]", "trailing comma"),
            ("NaN", "expected"),
            (r#"{"a":1,"a":1}"#, "twice"),
            (r#"{"x":{"a":1,"\u0061":1}}"#, "twice"),
            (&format!("{{{many},\"k3\":0}}"), "twice"),
            (r#""a\u0000b""#, "NUL"),
            (r#"{"a\u0000b":1}"#, "NUL"),
            (r#""\ud800""#, "end of hex escape"),
            (r#"{"a":["\udc00"]}"#, "surrogate"),
            ("1e999", "out of range"),
            (
                r#"{"a":{"$serde_json::private::RawValue":"1"}}"#,
                "reserved",
            ),
            ("\"a\nb\"", "control character"),
            (&"[".repeat(65), "deeper than 64"),
            (&"{\"a\":".repeat(65), "deeper than 64"),
            (&"[".repeat(100_000), "deeper than 64"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:.40}: {error}");
        }
    }
}
