//! Roles of users: giving and taking them, and the events around both.

pub mod events;
mod service;

pub use service::{AppRole, RoleChange, RoleService};
