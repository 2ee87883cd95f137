//! Tasks: what may become of a run, decided by a pure state machine.
//!
//! Must never know a store, a clock or who is told: whatever carries a task out asks here and decides nothing.

mod failure;
mod machine;

pub use failure::{Failure, FailureKind};
pub use machine::{Attempt, Input, Refused, State, Task, Waiter, retry_delay};
