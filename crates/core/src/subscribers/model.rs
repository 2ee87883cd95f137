//! Subscribers: the link between a function and an event type.
//!
//! The rule of the API document: a function subscribes at most once to each event type.

use crate::events::{EventType, Phase};
use crate::functions::Executable;
use crate::ids::{AppId, FunctionId, SubscriberId};
use crate::text::text_enum;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a PRE function's timeout means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The operation is refused.
    #[default]
    Deny,
    /// The function is passed over.
    Allow,
}

text_enum!(OnTimeout { Deny => "deny", Allow => "allow" });

/// What a subscription may set for itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SubscriberOptions {
    /// Lower runs its enrichment first; ties go by subscription id.
    pub priority: i32,
    /// A condition for running at all.
    pub filter: Option<String>,
    /// Time limit of one run in seconds; the function's own when unset.
    pub timeout_seconds: Option<f64>,
    /// What a timeout means (PRE only).
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Attempts (POST only); the function's own when unset.
    pub max_attempts: Option<u32>,
}

/// Why a subscription's function is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// Somebody switched it off: events pass it over.
    SwitchedOff,
    /// The function's webhook answered 410: it wants no more of these events. POST events pass it over;
    /// PRE events are refused, because whoever guarded them did not agree.
    Gone,
}

text_enum!(Inactive { SwitchedOff => "switched_off", Gone => "gone" });

impl Inactive {
    /// Whether it refuses the operations of its event until a person acts.
    pub fn is_closed(self, event: EventType) -> bool {
        self == Self::Gone && event.phase() == Phase::Pre
    }

    /// The same for people.
    pub fn reason(self, event: EventType) -> &'static str {
        match self {
            Self::SwitchedOff => "It was switched off",
            Self::Gone if self.is_closed(event) => CLOSED,
            Self::Gone => "The webhook answered 410 Gone: it wants no more of these events",
        }
    }
}

/// Why operations are refused whose webhook is gone.
const CLOSED: &str = "The webhook answered 410 Gone, and until somebody acts every such operation is refused: \
     give the function a webhook that answers, set is_active of the subscription to ask the old one \
     again, or unsubscribe the function";

/// A subscription as stored, with the names that lists show.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriber {
    /// Its number.
    pub id: SubscriberId,
    /// The event type.
    pub event: EventType,
    /// The function.
    pub function_id: FunctionId,
    /// The function's name.
    pub function_name: String,
    /// The function's slug.
    pub function_slug: String,
    /// The function's app.
    pub app_id: AppId,
    /// The app's name.
    pub app_name: String,
    /// The app's slug.
    pub app_slug: String,
    /// Its options.
    pub options: SubscriberOptions,
    /// Why its function is not called; none means that it is.
    pub inactive: Option<Inactive>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// A subscription ready to run: what publishing needs and nothing else.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The subscriber's number.
    pub id: SubscriberId,
    /// Its options.
    pub options: SubscriberOptions,
    /// The function is not called, and the operation refused: see [`Inactive::is_closed`].
    pub closed: bool,
    /// The active version of its function.
    pub executable: Arc<Executable>,
}
