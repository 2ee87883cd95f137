//! Invocations: the records of runs, who may read them, and what is done with those that failed for good.

mod chain;
mod dead_letters;
mod model;
pub mod retention;
mod service;
mod verdict;
mod visible;
mod watched;

pub use chain::{Chain, Link};
pub use dead_letters::{
    DeadLetterFilter, DeadLetterService, RedriveMany, RedriveSummary, VersionChoice,
};
pub use model::*;
pub use service::{Call, Executed, InvocationService};
pub use verdict::{RecordedVerdict, VerdictKind};
pub(crate) use visible::visible;
