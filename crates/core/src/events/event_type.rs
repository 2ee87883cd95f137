//! What an event type is to the program: a handle on its name, whose beginning is its phase.
//!
//! A handle is made of a name that a feature declares, or of one that was stored. What comes from outside
//! is looked up in the [`Catalogue`](super::Catalogue) and must never be made one: the names of a process
//! are kept for its life.

use super::names::{self, NameError};
use crate::limits;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Whether an event stands before or after its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Phase {
    /// Before; blocks the operation.
    Pre,
    /// After; durable, nobody waits.
    Post,
}

impl Phase {
    /// The phase of what looks like an event's name: `PRE_` or `POST_`, then capitals, digits and `_`. Nothing is kept of it.
    pub const fn of_name(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let (phase, rest) = match bytes {
            [b'P', b'R', b'E', b'_', rest @ ..] => (Phase::Pre, rest),
            [b'P', b'O', b'S', b'T', b'_', rest @ ..] => (Phase::Post, rest),
            _ => return None,
        };
        if rest.is_empty() || bytes.len() > limits::EVENT_NAME_BYTES {
            return None;
        }
        let mut at = 0;
        while at < rest.len() {
            if !matches!(rest[at], b'A'..=b'Z' | b'0'..=b'9' | b'_') {
                return None;
            }
            at += 1;
        }
        Some(phase)
    }
}

/// A name of the right form, and the phase that it begins with.
#[derive(Debug)]
pub struct Name {
    text: &'static str,
    phase: Phase,
}

impl Name {
    /// A name that stands in the source.
    ///
    /// # Panics
    /// When it does not look like an event's: in a `static`, where it belongs, it does not compile.
    pub const fn declared(text: &'static str) -> Self {
        match Phase::of_name(text) {
            Some(phase) => Self { text, phase },
            None => panic!("an event's name is PRE_ or POST_, then capitals, digits and _"),
        }
    }

    /// A name that was read, which is kept for the life of the process; none if it does not look like
    /// an event's.
    pub(super) fn kept(text: &str) -> Option<&'static Self> {
        let phase = Phase::of_name(text)?;
        let text: &'static str = Box::leak(text.into());
        Some(Box::leak(Box::new(Self { text, phase })))
    }
}

/// One lifecycle point: a handle that stands for its name. What it carries stands in the
/// [`Catalogue`](super::Catalogue).
///
/// Handles are the same if they stand for the same name. Two that are hold the same pointer, unless one
/// of them was read before the other was declared.
#[derive(Clone, Copy)]
pub struct EventType(&'static Name);

impl EventType {
    /// The handle of a declared name: see [`event_types!`](crate::event_types!).
    pub const fn declared(name: &'static Name) -> Self {
        Self(name)
    }

    /// The handle of a name that was stored, whether or not anybody registers it any more.
    ///
    /// # Errors
    /// What does not look like an event's name, and more names than [`limits::EVENT_NAMES`].
    pub fn stored(name: &str) -> Result<Self, NameError> {
        names::NAMES.stored(name)
    }

    /// Whether [`Self::stored`] has room for this name, or knows it. It is not kept.
    pub fn has_room(name: &str) -> bool {
        names::NAMES.has_room(name)
    }

    /// The name used in paths, SQL and parameters.
    pub const fn as_str(self) -> &'static str {
        self.0.text
    }

    /// Before or after.
    pub const fn phase(self) -> Phase {
        self.0.phase
    }
}

impl PartialEq for EventType {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0.text == other.0.text
    }
}

impl Eq for EventType {}

impl Hash for EventType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Ord for EventType {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.text.cmp(other.0.text)
    }
}

impl PartialOrd for EventType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.text)
    }
}

/// Of what was stored: a body from outside names its event as text.
impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::stored(&name).map_err(D::Error::custom)
    }
}

/// Declares the event types of a feature, each under its own name.
///
/// ```
/// tollgate_core::event_types! {
///     /// Before an order is shipped.
///     pub PRE_ORDER_SHIP,
///     /// After an order was shipped.
///     pub POST_ORDER_SHIP,
/// }
/// assert_eq!(PRE_ORDER_SHIP.as_str(), "PRE_ORDER_SHIP");
/// ```
///
/// What is no event's name does not compile:
///
/// ```compile_fail
/// tollgate_core::event_types! { pub ORDER_SHIP }
/// ```
#[macro_export]
macro_rules! event_types {
    ($($(#[$about:meta])* $visible:vis $name:ident),+ $(,)?) => {$(
        $(#[$about])*
        $visible const $name: $crate::events::EventType = {
            static NAME: $crate::events::Name = $crate::events::Name::declared(stringify!($name));
            $crate::events::EventType::declared(&NAME)
        };
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    crate::event_types! { PRE_LATE_DECLARE, POST_LATE_DECLARE }

    #[test]
    fn a_handle_is_one_pointer_and_stands_for_its_name() {
        assert_eq!(size_of::<EventType>(), size_of::<usize>());
        assert_eq!(size_of::<Option<EventType>>(), size_of::<usize>());
        assert_eq!(PRE_LATE_DECLARE.as_str(), "PRE_LATE_DECLARE");
        assert_eq!(PRE_LATE_DECLARE.phase(), Phase::Pre);
        assert_eq!(POST_LATE_DECLARE.phase(), Phase::Post);
        assert!(POST_LATE_DECLARE < PRE_LATE_DECLARE);
        let copy = PRE_LATE_DECLARE;
        assert!(std::ptr::eq(copy.0, PRE_LATE_DECLARE.0));
    }

    #[test]
    fn a_name_that_was_read_before_it_was_declared_is_the_same_type() {
        let read = EventType::stored("PRE_LATE_DECLARE").unwrap();
        assert!(!std::ptr::eq(read.0, PRE_LATE_DECLARE.0));
        assert_eq!(read, PRE_LATE_DECLARE);
        assert_eq!(read.cmp(&PRE_LATE_DECLARE), Ordering::Equal);
        let known = HashSet::from([read]);
        assert!(known.contains(&PRE_LATE_DECLARE));
        assert_ne!(read, POST_LATE_DECLARE);
        names::NAMES.declare(PRE_LATE_DECLARE);
        let read = EventType::stored("PRE_LATE_DECLARE").unwrap();
        assert!(std::ptr::eq(read.0, PRE_LATE_DECLARE.0));
    }

    #[test]
    fn names_round_trip_through_text_and_serde() {
        for text in ["PRE_A", "POST_2_", "PRE_ORDER_CREATE"] {
            let event = EventType::stored(text).unwrap();
            assert_eq!(serde_json::to_value(event).unwrap(), text);
            assert_eq!(
                serde_json::from_value::<EventType>(text.into()).unwrap(),
                event
            );
            assert_eq!(
                (event.to_string(), format!("{event:?}")),
                (text.into(), text.into())
            );
        }
        assert!(serde_json::from_str::<EventType>(r#""ORDER""#).is_err());
    }

    #[test]
    fn what_does_not_look_like_an_events_name_is_none() {
        let long = format!("PRE_{}", "A".repeat(limits::EVENT_NAME_BYTES - 4));
        assert_eq!(Phase::of_name(&long), Some(Phase::Pre));
        for name in [
            "",
            "PRE",
            "PRE_",
            "POST_",
            "ORDER_PRE_",
            "pre_ORDER",
            "PRE_order",
            "PRE_ORDER ",
            "PRE_Ö",
            "PRE-ORDER",
            "MID_ORDER",
            &format!("{long}A"),
        ] {
            assert_eq!(Phase::of_name(name), None, "{name}");
            assert!(EventType::stored(name).is_err(), "{name}");
        }
    }
}
