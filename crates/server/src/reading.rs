//! Reads a request's values into a type and tells everything that is wrong with them, each by its
//! field: unknown names, wrong types, unknown words, what is missing.
//!
//! serde stops at the first fault. Here a fault is noted, a stand-in is given for the value, and the
//! reading goes on; where the stand-in does not help, the reading begins anew without that value. A type
//! that is read with faults is a draft: what is wrong is left out of it, so that the rest can be checked.
//!
//! Must never put serde's own words about types and places before a client.

mod access;
mod value;

pub(crate) use access::unknown;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tollgate_core::draft::Draft;
use tollgate_core::text::prefix;
use tollgate_core::validation::FieldError;
use value::{Node, Reader};

/// Most readings of one text: each one finds a fault that the ones before did not get to.
const READINGS: usize = 50;
/// Most faults that are told.
const FAULTS: usize = 100;
/// Longest name of a field in a message.
const NAME_BYTES: usize = 100;

/// Values under names that the type does not have and that are let pass.
pub(crate) type Besides = BTreeMap<String, Value>;

/// Reads a JSON object that passed `strict_json::check`. What stands in it under the names of
/// `besides` is given back as it is.
///
/// # Errors
/// Every fault, where nothing can be read beside them.
pub(crate) fn object<T: DeserializeOwned>(
    text: &str,
    besides: &[&str],
) -> Result<(Draft<T>, Besides), Vec<FieldError>> {
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|_| vec![FieldError::new("", "Send JSON")])?;
    let node = Node::Json(raw);
    match read::<T>(&node, besides) {
        Ok((value, besides)) => Ok((value.into(), besides)),
        Err(notes) => {
            let faults = notes.all();
            match rest(&node, besides, *notes) {
                Some((value, besides)) => Ok((Draft::new(value, faults), besides)),
                None => Err(faults),
            }
        }
    }
}

/// Reads the pairs of a query string; what `T` does not know is passed over.
///
/// # Errors
/// Every fault.
pub(crate) fn query<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, Vec<FieldError>> {
    let read = read(&Node::Query(pairs), &[]);
    read.map(|(value, _)| value).map_err(|notes| notes.all())
}

fn read<T: DeserializeOwned>(
    node: &Node<'_>,
    besides: &[&str],
) -> Result<(T, Besides), Box<Notes>> {
    let mut notes = Notes {
        known_besides: besides.iter().map(|name| (*name).to_owned()).collect(),
        ..Notes::default()
    };
    for _ in 0..READINGS {
        let read = once(node, &mut notes);
        match read {
            Ok(value) if notes.all().is_empty() => return Ok((value, notes.besides)),
            Ok(_) => break,
            Err(Stop::Again) => notes.begin_anew(),
            Err(Stop::Missing(name)) => {
                notes.kept.push(FieldError::new(name, REQUIRED));
                break;
            }
            Err(Stop::Because(reason)) => {
                if notes.all().is_empty() {
                    notes.kept.push(FieldError::new("", reason));
                }
                break;
            }
        }
    }
    Err(Box::new(notes))
}

/// What can be read where everything that is wrong is left out.
fn rest<T: DeserializeOwned>(
    node: &Node<'_>,
    besides: &[&str],
    notes: Notes,
) -> Option<(T, Besides)> {
    let wrong = notes.found.into_iter().map(|it| it.field.into_owned());
    let mut notes = Notes {
        left_out: notes.left_out.into_iter().chain(wrong).collect(),
        stand_ins: notes.stand_ins,
        skipped: notes.skipped,
        known_besides: besides.iter().map(|name| (*name).to_owned()).collect(),
        ..Notes::default()
    };
    for _ in 0..READINGS {
        match once(node, &mut notes) {
            Ok(value) => return Some((value, notes.besides)),
            Err(Stop::Again) => notes.begin_anew(),
            Err(Stop::Missing(_) | Stop::Because(_)) => return None,
        }
    }
    None
}

fn once<T: DeserializeOwned>(node: &Node<'_>, notes: &mut Notes) -> Result<T, Stop> {
    let cell = RefCell::new(std::mem::take(notes));
    let read = T::deserialize(Reader::root(node.clone(), &cell));
    *notes = cell.into_inner();
    read
}

/// Of a field that is not there.
const REQUIRED: &str = "This field is required";

/// What was found so far.
#[derive(Default)]
struct Notes {
    /// Faults of this reading.
    found: Vec<FieldError>,
    /// Faults of the readings before, whose values this one leaves out.
    kept: Vec<FieldError>,
    /// Paths of values that are left out.
    left_out: BTreeSet<String>,
    /// Paths at which a stand-in is given for what is missing.
    stand_ins: BTreeSet<String>,
    /// Paths of items for which no stand-in will do.
    skipped: BTreeSet<String>,
    known_besides: Vec<String>,
    besides: Besides,
}

impl Notes {
    fn begin_anew(&mut self) {
        self.found.clear();
        self.besides.clear();
    }

    fn all(&self) -> Vec<FieldError> {
        let mut all: Vec<FieldError> = Vec::new();
        // What was sent and means nothing first: it explains what is missing.
        for fault in self.found.iter().chain(&self.kept) {
            if all.len() < FAULTS && all.iter().all(|it| it.field != fault.field) {
                all.push(fault.clone());
            }
        }
        all
    }
}

/// Why a reading stopped.
#[derive(Debug)]
enum Stop {
    /// A value was noted that the next reading leaves out, or stands in for.
    Again,
    /// A field of the object that is being read is missing.
    Missing(&'static str),
    /// Anything else.
    Because(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => f.write_str("read again"),
            Self::Missing(field) => write!(f, "{field} is missing"),
            Self::Because(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Because(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// The path of `name` within `path`.
fn within(path: &str, name: &str) -> String {
    let name = prefix(name, NAME_BYTES);
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests;
