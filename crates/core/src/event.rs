//! Event types: the closed list of lifecycle points that functions can subscribe to.
//!
//! What each event carries stands in [`crate::registry`].

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One lifecycle point, in the order in which the API lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// Before a user is created.
    PreUserCreate,
    /// After a user was created.
    PostUserCreate,
    /// Before a user is changed.
    PreUserUpdate,
    /// After a user was changed.
    PostUserUpdate,
    /// Before a user is deleted.
    PreUserDelete,
    /// After a user was deleted.
    PostUserDelete,
}

/// Whether an event stands before or after its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Phase {
    /// Before; blocks the operation.
    Pre,
    /// After; durable, nobody waits.
    Post,
}

impl EventType {
    /// Every event type, in the order of the API's list.
    pub const ALL: [Self; 6] = [
        Self::PreUserCreate,
        Self::PostUserCreate,
        Self::PreUserUpdate,
        Self::PostUserUpdate,
        Self::PreUserDelete,
        Self::PostUserDelete,
    ];

    /// The name used in paths, SQL and parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreUserCreate => "PRE_USER_CREATE",
            Self::PostUserCreate => "POST_USER_CREATE",
            Self::PreUserUpdate => "PRE_USER_UPDATE",
            Self::PostUserUpdate => "POST_USER_UPDATE",
            Self::PreUserDelete => "PRE_USER_DELETE",
            Self::PostUserDelete => "POST_USER_DELETE",
        }
    }

    /// Before or after.
    pub const fn phase(self) -> Phase {
        match self {
            Self::PreUserCreate | Self::PreUserUpdate | Self::PreUserDelete => Phase::Pre,
            Self::PostUserCreate | Self::PostUserUpdate | Self::PostUserDelete => Phase::Post,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no event type; its text is the API document's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid event type '{name}'. Must be one of: {}", names())]
pub struct InvalidEventType {
    /// The name that was given.
    pub name: String,
}

fn names() -> String {
    EventType::ALL.map(EventType::as_str).join(", ")
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|event| event.as_str() == name)
            .ok_or_else(|| InvalidEventType {
                name: crate::text::prefix(name, 100).to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_through_text_and_serde() {
        for event in EventType::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "INVALID_EVENT".parse::<EventType>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid event type 'INVALID_EVENT'. Must be one of: PRE_USER_CREATE, \
             POST_USER_CREATE, PRE_USER_UPDATE, POST_USER_UPDATE, PRE_USER_DELETE, \
             POST_USER_DELETE"
        );
    }
}
