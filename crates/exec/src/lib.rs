//! Runs tasks: takes them from memory or claims them from the store, hands them to runtimes and
//! records how they ended.
//!
//! The store's rows are the queue; what is held in memory here is only a faster way to them. This
//! crate decides nothing about states: [`tollgate_core::tasks`] does.

mod attempt;
mod claimer;
mod dispatch;
mod executor;
mod held;
mod keeper;
mod queue;
mod recorder;
mod retention;
mod running;
mod turns;

pub use executor::{Executor, ExecutorConfig};
pub use retention::Pass;
