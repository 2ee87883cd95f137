//! What the engine needs from outside, as traits: storage, runtimes, dispatch.
//!
//! Adapters implement these and never see each other.

pub mod dispatch;
pub mod runtime;
pub mod store;
