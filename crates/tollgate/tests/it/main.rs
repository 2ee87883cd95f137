//! The crate as an embedding program uses it.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the right answer")]

mod examples;
mod minimal;
mod misuse;
mod outside;
