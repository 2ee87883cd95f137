//! A JSON value in its one spelling: no blanks, keys sorted, strings and numbers as `serde_json` has them.
//!
//! It must take little more memory than the text: a tree of `serde_json` takes a hundred times as much
//! for texts that somebody has made up for that.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// One value.
pub(super) enum Canonical {
    /// No list and no object, as it is written.
    Plain(Box<str>),
    /// A number that may have lost digits: an integer beyond 64 bits, which is kept as a float.
    Rounded(Box<str>),
    List(Box<[Self]>),
    /// Sorted by name.
    Object(Box<[(Box<str>, Self)]>),
}

impl Canonical {
    fn plain(value: &Value) -> Self {
        Self::Plain(value.to_string().into())
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Plain(text) | Self::Rounded(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(&**name).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Whether a number in it may have lost digits that a function would see.
    pub(super) fn is_rounded(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Rounded(_) => true,
            Self::List(items) => items.iter().any(Self::is_rounded),
            Self::Object(fields) => fields.iter().any(|(_, value)| value.is_rounded()),
        }
    }
}

impl<'de> Deserialize<'de> for Canonical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Canonical;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Canonical, E> {
        Ok(Canonical::plain(&value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Canonical, E> {
        Ok(Canonical::plain(&value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Canonical, E> {
        Ok(Canonical::plain(&value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Canonical, E> {
        const BITS_64: f64 = 18_446_744_073_709_551_616.0;
        let text = Value::from(value).to_string().into();
        Ok(if value.abs() >= BITS_64 / 2.0 {
            Canonical::Rounded(text)
        } else {
            Canonical::Plain(text)
        })
    }

    fn visit_unit<E>(self) -> Result<Canonical, E> {
        Ok(Canonical::plain(&Value::Null))
    }

    fn visit_str<E>(self, text: &str) -> Result<Canonical, E> {
        Ok(Canonical::plain(&text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Canonical, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Canonical::List(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Canonical, A::Error> {
        let mut fields: Vec<(Box<str>, Canonical)> = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Canonical::Object(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_tree_would_be_written_as() {
        for text in [
            "null",
            r#" { "b" : [ 1, 2.50, -3e4, true, null ], "a": "\u00e9\n\"", "B": {} , "": [] } "#,
            "18446744073709551615",
            "-9223372036854775808",
            "1e3",
        ] {
            let mut written = String::new();
            let value: Canonical = serde_json::from_str(text).unwrap();
            value.write(&mut written);
            let tree: Value = serde_json::from_str(text).unwrap();
            assert_eq!(written, tree.to_string());
            assert!(!value.is_rounded(), "{text}");
        }
        for text in ["18446744073709551616", "[[-1e300]]", r#"{"a":1e20}"#] {
            let value: Canonical = serde_json::from_str(text).unwrap();
            assert!(value.is_rounded(), "{text}");
        }
    }
}
