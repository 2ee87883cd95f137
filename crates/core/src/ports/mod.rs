//! What the engine needs from outside, as traits: storage, runtimes, dispatch.
//!
//! Adapters implement these and never see each other.

pub mod dispatch;
mod host_error;
pub mod runtime;
pub mod store;
