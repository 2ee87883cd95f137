//! The fields of an object and the items of a list, handed to serde one by one.

use super::value::{Node, Reader};
use super::{Notes, Stop, within};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use tollgate_core::text::did_you_mean;
use tollgate_core::validation::FieldError;

/// The fields of an object.
pub(super) struct Fields<'de, 's> {
    entries: std::vec::IntoIter<(Cow<'de, str>, Node<'de>)>,
    /// The names that the type has; none for a map, which takes any.
    known: Option<&'static [&'static str]>,
    /// Unknown names are passed over.
    lenient: bool,
    path: String,
    notes: &'s RefCell<Notes>,
    stand_ins: std::vec::IntoIter<&'static str>,
    next: Option<(String, Node<'de>)>,
}

impl<'de, 's> Fields<'de, 's> {
    pub(super) fn new(
        entries: Vec<(Cow<'de, str>, Node<'de>)>,
        known: Option<&'static [&'static str]>,
        lenient: bool,
        path: String,
        notes: &'s RefCell<Notes>,
    ) -> Self {
        let stand_ins: Vec<&'static str> = {
            let notes = notes.borrow();
            let of_here = |name: &&str| notes.stand_ins.contains(&within(&path, name));
            let known = known.unwrap_or_default().iter().copied();
            known.filter(of_here).collect()
        };
        Self {
            entries: entries.into_iter(),
            known,
            lenient,
            path,
            notes,
            stand_ins: stand_ins.into_iter(),
            next: None,
        }
    }

    /// Whether a field of this name is to be read.
    fn wanted(&self, name: &str, path: &str, node: &Node<'de>) -> bool {
        let mut notes = self.notes.borrow_mut();
        if notes.left_out.contains(path) {
            return false;
        }
        let Some(known) = self.known else { return true };
        if known.contains(&name) {
            return true;
        }
        if self.path.is_empty() && notes.known_besides.iter().any(|it| it == name) {
            if let Node::Json(raw) = node {
                let value = serde_json::from_str(raw.get()).unwrap_or_default();
                notes.besides.insert(name.to_owned(), value);
            }
        } else if !self.lenient {
            notes.found.push(FieldError::new(
                path.to_owned(),
                unknown("field", name, known),
            ));
        }
        false
    }
}

/// What is said of a name that nothing has.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match did_you_mean(name, known.iter().copied()) {
        Some(meant) => format!("Unknown {what}. Did you mean '{meant}'?"),
        None if known.is_empty() => format!("Unknown {what}; none is taken here"),
        None => format!("Unknown {what}. There are: {}", known.join(", ")),
    }
}

/// Turns an error about the value at `path` into a fault, and the reading into one that leaves the
/// value out.
pub(super) fn noted(notes: &RefCell<Notes>, path: &str, stop: Stop) -> Stop {
    let reason = match stop {
        Stop::Again => return Stop::Again,
        Stop::Missing(name) => format!("{name} is missing"),
        Stop::Because(reason) => reason,
    };
    let mut notes = notes.borrow_mut();
    // A stand-in that was no help: nothing more can be found out.
    if notes.stand_ins.contains(path) || !notes.left_out.insert(path.to_owned()) {
        return Stop::Because(reason);
    }
    notes.kept.push(FieldError::new(path.to_owned(), reason));
    Stop::Again
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        while let Some((name, node)) = self.entries.next() {
            let path = within(&self.path, &name);
            if self.wanted(&name, &path, &node) {
                self.next = Some((path, node));
                let name: StrDeserializer<'_, Stop> = name.as_ref().into_deserializer();
                return seed.deserialize(name).map(Some);
            }
        }
        let Some(name) = self.stand_ins.next() else {
            return Ok(None);
        };
        self.next = Some((within(&self.path, name), Node::StandIn));
        let name: StrDeserializer<'_, Stop> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some((path, node)) = self.next.take() else {
            return Err(Stop::Because("a value without its name".to_owned()));
        };
        let is_null = matches!(node, Node::Json(raw) if raw.get() == "null");
        let reader = Reader::new(node, path.clone(), self.notes);
        seed.deserialize(reader).map_err(|stop| match stop {
            Stop::Because(_) if is_null => {
                let stop = Stop::Because("This field may not be null".to_owned());
                noted(self.notes, &path, stop)
            }
            stop => noted(self.notes, &path, stop),
        })
    }
}

/// The items of a list.
pub(super) struct Items<'de, 's> {
    pub(super) items: std::iter::Enumerate<std::vec::IntoIter<&'de RawValue>>,
    pub(super) path: String,
    pub(super) notes: &'s RefCell<Notes>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        for (index, raw) in self.items.by_ref() {
            let path = within(&self.path, &index.to_string());
            let (is_left_out, is_skipped) = {
                let notes = self.notes.borrow();
                (
                    notes.left_out.contains(&path),
                    notes.skipped.contains(&path),
                )
            };
            if is_skipped {
                continue;
            }
            // The items behind one that is left out keep their numbers.
            let node = match is_left_out {
                true => Node::StandIn,
                false => Node::Json(raw),
            };
            let reader = Reader::new(node, path.clone(), self.notes);
            return seed.deserialize(reader).map(Some).map_err(|stop| {
                if is_left_out && !matches!(stop, Stop::Again) {
                    self.notes.borrow_mut().skipped.insert(path);
                    return Stop::Again;
                }
                noted(self.notes, &path, stop)
            });
        }
        Ok(None)
    }
}
