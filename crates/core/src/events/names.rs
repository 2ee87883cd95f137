//! The names of event types that this process knows, each with one handle.
//!
//! A name that was read stays for the life of the process. So what does not look like one must never get
//! in, nor more than [`limits::EVENT_NAMES`] that nobody declares.

use super::event_type::{EventType, Name};
use crate::{limits, text};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Why a text does not stand for an event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It does not look like an event's name.
    #[error("'{0}' is no event's name: PRE_ or POST_, then capitals, digits and _")]
    Malformed(String),
    /// The process has read as many names as it keeps.
    #[error("'{name}' is one event name more than the {most} that a process reads")]
    TooMany {
        /// The name that was read.
        name: String,
        /// How many are kept.
        most: usize,
    },
}

/// The table of the process.
pub(super) static NAMES: LazyLock<Names> = LazyLock::new(|| Names::of_at_most(limits::EVENT_NAMES));

pub(super) struct Names {
    most: usize,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    handles: HashMap<&'static str, EventType>,
    /// How many of them were only read.
    read: usize,
}

impl Names {
    fn of_at_most(most: usize) -> Self {
        Self {
            most,
            known: RwLock::default(),
        }
    }

    /// From now on its name stands for this handle. It takes no room from what is read.
    pub(super) fn declare(&self, event: EventType) {
        self.known.write().handles.insert(event.as_str(), event);
    }

    /// Whether the name is known, or one more can be read.
    pub(super) fn has_room(&self, name: &str) -> bool {
        let known = self.known.read();
        known.read < self.most || known.handles.contains_key(name)
    }

    /// The handle of a name that was stored.
    pub(super) fn stored(&self, name: &str) -> Result<EventType, NameError> {
        if let Some(event) = self.known.read().handles.get(name) {
            return Ok(*event);
        }
        let mut known = self.known.write();
        // Another one may have read it meanwhile.
        if let Some(event) = known.handles.get(name) {
            return Ok(*event);
        }
        let shown = || text::prefix(name, limits::EVENT_NAME_BYTES).to_owned();
        if known.read >= self.most {
            let (name, most) = (shown(), self.most);
            return Err(NameError::TooMany { name, most });
        }
        let kept = Name::kept(name).ok_or_else(|| NameError::Malformed(shown()))?;
        let event = EventType::declared(kept);
        known.handles.insert(event.as_str(), event);
        known.read += 1;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::event_types! { PRE_THING_KEEP }

    #[test]
    fn what_is_read_is_bounded_and_what_is_declared_always_has_a_place() {
        let names = Names::of_at_most(2);
        let first = names.stored("PRE_ONE").unwrap();
        assert_eq!(names.stored("PRE_ONE"), Ok(first));
        assert!(matches!(names.stored("one"), Err(NameError::Malformed(_))));
        names.stored("POST_TWO").unwrap();
        let error = names.stored("PRE_THING_KEEP").unwrap_err();
        let told = "'PRE_THING_KEEP' is one event name more than the 2 that a process reads";
        assert_eq!(error.to_string(), told);
        assert_eq!(names.known.read().handles.len(), 2);
        assert!(names.has_room("PRE_ONE") && !names.has_room("PRE_THING_KEEP"));
        names.declare(PRE_THING_KEEP);
        assert_eq!(names.stored("PRE_THING_KEEP"), Ok(PRE_THING_KEEP));
        assert_eq!(names.stored("PRE_ONE"), Ok(first));
    }
}
