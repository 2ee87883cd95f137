//! What is published: a value whose Rust type says which event it is.
//!
//! The engine reads the value's JSON and never the value, and only when somebody subscribed: parameters
//! of the wrong kind do not compile, and parameters that nobody reads are not written.

use super::EventType;
use crate::json::JsonText;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// The parameters of one event type. Two events that carry the same values have a type each.
///
/// A sensitive value (a password) is not a parameter at all. Schema and sample are shown to everybody, and
/// filters are checked against the schema.
pub trait LifecycleEvent:
    Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The event that carries them.
    const TYPE: EventType;

    /// Made-up but valid parameters.
    fn sample() -> Self;
}

/// An event ready to be published: its type, and the parameters that belong to that type.
#[derive(Clone)]
pub struct Event {
    event: EventType,
    params: Arc<dyn Parameters>,
}

/// Parameters of any type.
trait Parameters: Send + Sync {
    fn written(&self) -> Result<JsonText, serde_json::Error>;
}

impl<E: LifecycleEvent> Parameters for E {
    fn written(&self) -> Result<JsonText, serde_json::Error> {
        JsonText::of(self)
    }
}

/// Parameters of an app's own type, which its schema accepts.
struct Accepted(JsonText);

impl Parameters for Accepted {
    fn written(&self) -> Result<JsonText, serde_json::Error> {
        Ok(self.0.clone())
    }
}

impl Event {
    /// The event that these parameters belong to. Those that come from outside are read by
    /// [`EventSpec::read`](super::EventSpec::read).
    pub fn of<E: LifecycleEvent>(params: E) -> Self {
        Self {
            event: E::TYPE,
            params: Arc::new(params),
        }
    }

    /// An event of a type that an app has declared, whose schema accepts these parameters.
    pub(super) fn accepted(event: EventType, params: JsonText) -> Self {
        Self {
            event,
            params: Arc::new(Accepted(params)),
        }
    }

    /// Its type.
    pub const fn event_type(&self) -> EventType {
        self.event
    }

    /// Its parameters as JSON, written now.
    ///
    /// # Errors
    /// When they have no JSON, as a map whose keys are no texts.
    pub fn params(&self) -> Result<JsonText, serde_json::Error> {
        self.params.written()
    }
}

/// Without the parameters: they are somebody's data.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.event).finish()
    }
}
