//! Event types as data: a handle on a name, what stands behind it, and the values that are published.
//!
//! Nothing here knows an event of the platform. Who publishes one declares it beside the rules of its
//! own ([`event_types!`](crate::event_types!)), says what it carries ([`LifecycleEvent`]) and registers it
//! once ([`Catalogue`]). What an app declares for itself is data as well ([`own`]).

mod catalogue;
mod denial;
mod event_type;
mod lifecycle;
mod names;
pub mod own;

pub use catalogue::{Catalogue, EventSpec, InvalidEventType, RegisteredTwice, UserShape};
pub use denial::{Announcement, Denial, DeniedBy};
pub use event_type::{EventType, Name, Phase};
pub use lifecycle::{Event, LifecycleEvent};
pub use names::NameError;
