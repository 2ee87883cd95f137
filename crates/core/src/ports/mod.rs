//! What the engine needs from outside, as traits: storage, runtimes, dispatch, news.
//!
//! Adapters implement these and never see each other.

pub mod bus;
pub mod dispatch;
mod host_error;
mod loading;
pub mod runtime;
pub mod store;
