//! One value: what serde asks for is what it must be.

use super::access::{Fields, Items, noted};
use super::{Notes, Stop, within};
use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, IntoDeserializer as _, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use tollgate_core::numbers::{self, Integers};
use tollgate_core::validation::FieldError;

/// Where a value comes from.
#[derive(Clone)]
pub(super) enum Node<'de> {
    /// JSON text.
    Json(&'de RawValue),
    /// A whole query string.
    Query(&'de [(String, String)]),
    /// A value of one.
    Word(&'de str),
    /// Nowhere: something must stand there for the reading to go on.
    StandIn,
}

/// A value to be read.
pub(super) struct Reader<'de, 's> {
    node: Node<'de>,
    path: String,
    notes: &'s RefCell<Notes>,
}

type Entries<'de> = Vec<(Cow<'de, str>, Node<'de>)>;

impl<'de, 's> Reader<'de, 's> {
    pub(super) fn root(node: Node<'de>, notes: &'s RefCell<Notes>) -> Self {
        Self::new(node, String::new(), notes)
    }

    pub(super) fn new(node: Node<'de>, path: String, notes: &'s RefCell<Notes>) -> Self {
        Self { node, path, notes }
    }

    fn is_null(&self) -> bool {
        matches!(self.node, Node::Json(raw) if raw.get() == "null")
    }

    /// Notes that the value is not what it must be.
    fn wrong(&self, use_: &str) {
        if matches!(self.node, Node::StandIn) {
            return;
        }
        let message = if self.is_null() {
            "This field may not be null".to_owned()
        } else {
            use_.to_owned()
        };
        let fault = FieldError::new(self.path.clone(), message);
        self.notes.borrow_mut().found.push(fault);
    }

    fn string(&self) -> Option<String> {
        match self.node {
            Node::Json(raw) if raw.get().starts_with('"') => serde_json::from_str(raw.get()).ok(),
            Node::Word(word) => Some(word.to_owned()),
            Node::Json(_) | Node::Query(_) | Node::StandIn => None,
        }
    }

    /// The text of a number.
    fn number(&self) -> Option<&'de str> {
        match self.node {
            Node::Json(raw) => {
                let is_number = |c: char| c == '-' || c.is_ascii_digit();
                raw.get().starts_with(is_number).then(|| raw.get())
            }
            Node::Word(word) => Some(word),
            Node::Query(_) | Node::StandIn => None,
        }
    }

    fn integer<N: FromStr + Default + Display + Copy>(&self, least: N, most: N) -> N {
        if let Some(number) = self.number().and_then(|it| it.parse().ok()) {
            return number;
        }
        // The bounds of 64 bits are nobody's concern.
        let use_ = match (size_of::<N>(), least.to_string().as_str()) {
            (8.., "0") => "Use a whole number of at least 0".to_owned(),
            (8.., _) => "Use a whole number".to_owned(),
            _ => format!("Use a whole number from {least} to {most}"),
        };
        self.wrong(&use_);
        N::default()
    }

    fn float(&self) -> f64 {
        let read = self.number().and_then(|number| {
            let value: f64 = number.parse().ok()?;
            let exact = numbers::is_exact(number, Integers::Bits64);
            (value.is_finite() && exact).then_some(value)
        });
        read.unwrap_or_else(|| {
            self.wrong("Use a number");
            0.0
        })
    }

    /// The entries of an object.
    fn entries(&self) -> Option<Entries<'de>> {
        match self.node {
            Node::Json(raw) if raw.get().starts_with('{') => {
                let entries = serde_json::from_str::<raw::Entries<'de>>(raw.get()).ok()?.0;
                let json = |(name, raw)| (name, Node::Json(raw));
                Some(entries.into_iter().map(json).collect())
            }
            Node::Query(pairs) => {
                let word = |(name, value): &'de (String, String)| {
                    (Cow::Borrowed(name.as_str()), Node::Word(value))
                };
                Some(pairs.iter().map(word).collect())
            }
            Node::StandIn => Some(Vec::new()),
            Node::Json(_) | Node::Word(_) => None,
        }
    }

    fn fields(&self, known: Option<&'static [&'static str]>) -> Fields<'de, 's> {
        let mut entries = self.entries().unwrap_or_else(|| {
            self.wrong("Use an object");
            Vec::new()
        });
        let lenient = matches!(self.node, Node::Query(_));
        if let (true, Some(known)) = (lenient, known) {
            entries = self.once(entries, known);
        }
        Fields::new(entries, known, lenient, self.path.clone(), self.notes)
    }

    /// A query may repeat a name; which value would count is nobody's guess.
    fn once(&self, entries: Entries<'de>, known: &[&str]) -> Entries<'de> {
        let mut kept: Entries<'de> = Vec::new();
        for (name, node) in entries {
            if !known.contains(&name.as_ref()) {
                continue;
            }
            if kept.iter().any(|(seen, _)| *seen == name) {
                let fault = FieldError::new(name.into_owned(), "Give it once");
                self.notes.borrow_mut().found.push(fault);
            } else {
                kept.push((name, node));
            }
        }
        kept
    }

    /// Text that is read by serde_json itself, whose numbers must all be kept.
    fn exact(&self, integers: Integers) -> Result<&'de str, Stop> {
        let raw = match self.node {
            Node::Json(raw) => raw,
            // Types that take no null take text.
            Node::StandIn => return Ok("\"\""),
            Node::Query(_) | Node::Word(_) => return Ok("null"),
        };
        let Err(inexact) = numbers::check(raw.get(), integers) else {
            return Ok(raw.get());
        };
        let path = if inexact.path.is_empty() {
            self.path.clone()
        } else {
            within(&self.path, &inexact.path)
        };
        let mut notes = self.notes.borrow_mut();
        let fault = FieldError::new(path, inexact.to_string());
        if notes.left_out.insert(self.path.clone()) {
            notes.kept.push(fault);
            Err(Stop::Again)
        } else {
            Err(Stop::Because(fault.message))
        }
    }
}

/// An object's entries as text, in their order.
mod raw {
    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
    use serde_json::value::RawValue;
    use std::borrow::Cow;
    use std::fmt;

    pub(super) struct Entries<'de>(pub(super) Vec<(Cow<'de, str>, &'de RawValue)>);

    impl<'de> Deserialize<'de> for Entries<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;

            impl<'de> Visitor<'de> for All {
                type Value = Entries<'de>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut entries = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                        entries.push((Cow::Owned(name), value));
                    }
                    Ok(Entries(entries))
                }
            }
            deserializer.deserialize_map(All)
        }
    }
}

fn of_json(error: &serde_json::Error) -> Stop {
    // Its words are ours where a type of ours refused; the place within the value helps nobody.
    let text = error.to_string();
    let words = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |it| it.0);
    Stop::Because(words.to_owned())
}

macro_rules! integers {
    ($($deserialize:ident $visit:ident $type:ident),+ $(,)?) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.$visit(self.integer($type::MIN, $type::MAX))
        }
    )+};
}

macro_rules! strings {
    ($($deserialize:ident),+ $(,)?) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.visit_string(self.string().unwrap_or_else(|| {
                self.wrong("Use text");
                String::new()
            }))
        }
    )+};
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if let Node::Word(word) = self.node {
            return visitor.visit_borrowed_str(word);
        }
        let text = self.exact(Integers::Bits64)?;
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_any(visitor)
            .map_err(|error| of_json(&error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let text = match self.node {
            Node::Json(raw) => raw.get(),
            Node::Word(word) => word,
            Node::Query(_) | Node::StandIn => "",
        };
        visitor.visit_bool(text.parse().unwrap_or_else(|_| {
            self.wrong("Use true or false");
            false
        }))
    }

    integers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_f64(self.float())
    }

    strings!(
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_identifier,
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.is_null() || matches!(self.node, Node::StandIn) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        // Text that is carried as it is; only serde_json knows how to hand it over.
        if name == "$serde_json::private::RawValue" {
            let text = self.exact(Integers::Text)?;
            let mut json = serde_json::Deserializer::from_str(text);
            return json
                .deserialize_newtype_struct(name, visitor)
                .map_err(|error| of_json(&error));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items: Option<Vec<&'de RawValue>> = match self.node {
            Node::Json(raw) => serde_json::from_str(raw.get()).ok(),
            Node::Query(_) | Node::Word(_) | Node::StandIn => None,
        };
        let items = items.unwrap_or_else(|| {
            self.wrong("Use a list");
            Vec::new()
        });
        visitor.visit_seq(Items {
            items: items.into_iter().enumerate(),
            path: self.path,
            notes: self.notes,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_map(self.fields(None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let read = visitor.visit_map(self.fields(Some(known)));
        let Err(Stop::Missing(name)) = read else {
            return read;
        };
        let path = within(&self.path, name);
        let mut notes = self.notes.borrow_mut();
        if !notes.stand_ins.insert(path.clone()) {
            return Err(Stop::Because(super::REQUIRED.to_owned()));
        }
        if !notes.left_out.contains(&path) {
            notes.kept.push(FieldError::new(path, super::REQUIRED));
        }
        Err(Stop::Again)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let given = self.string();
        let word = match &given {
            Some(word) if words.contains(&word.as_str()) => word,
            Some(word) => {
                self.wrong(&one_of(word, words));
                words.first().copied().unwrap_or_default()
            }
            None => {
                self.wrong(&format!("Use one of {}", words.join(", ")));
                words.first().copied().unwrap_or_default()
            }
        };
        let word: StrDeserializer<'_, Stop> = word.into_deserializer();
        visitor
            .visit_enum(word)
            .map_err(|stop| noted(self.notes, &self.path, stop))
    }
}

fn one_of(word: &str, words: &[&str]) -> String {
    let all = words.join(", ");
    match tollgate_core::text::did_you_mean(word, words.iter().copied()) {
        Some(meant) => format!("Use one of {all}. Did you mean '{meant}'?"),
        None => format!("Use one of {all}"),
    }
}
