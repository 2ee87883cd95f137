//! Subscribers: which functions an event runs, in which order and under which conditions.

mod model;
mod service;

pub use model::*;
pub use service::{Explain, Subscribe, SubscriberPatch, SubscriberService};
