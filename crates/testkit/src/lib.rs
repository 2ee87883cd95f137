//! Test helpers shared by Tollgate's crates: a clock and randomness that tests control, and the
//! contract that every store must pass.
//!
//! For tests only: nothing here may be linked into the program.

pub mod clock;
pub mod entropy;
pub mod fake_runtime;
pub mod store_contract;
