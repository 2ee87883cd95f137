//! The crate as an embedding program uses it.

mod minimal;
mod misuse;
mod outside;
