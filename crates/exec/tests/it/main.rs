//! The engine as a whole, on the real store and the real executor, with functions that do what
//! each test says.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod attempts;
mod claims;
mod dead_letters;
mod post;
mod pre;
mod publish;
mod refusals;
mod requests;
mod stop;
mod turns;
mod world;
