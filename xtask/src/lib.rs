//! Repository rules, kept by `cargo test`. No logic that a user needs may live here.
//!
//! Each rule looks at the text of the tracked sources and names what breaks it.

pub mod rules;
pub mod sources;
pub mod spawns;
