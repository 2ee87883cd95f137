//! The crate as an embedding program uses it.

mod examples;
mod minimal;
mod misuse;
mod outside;
