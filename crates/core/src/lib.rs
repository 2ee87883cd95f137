//! Tollgate's domain: events, functions, tasks, users.
//!
//! This crate decides; it does no I/O. It knows no SQL, HTTP, NATS or processes, reads no ambient
//! clock and draws no ambient randomness. What it needs from outside stands in [`ports`].
//!
//! Accounts (users with passwords, tokens and roles, and the platform around them) are the engine's first guest, behind
//! the feature `accounts`: the engine is complete without.

#![cfg_attr(
    not(feature = "accounts"),
    allow(dead_code, reason = "a part of it is for guests of this crate's own")
)]

#[cfg(feature = "accounts")]
pub mod admin;
pub mod apps;
#[cfg(feature = "accounts")]
pub mod auth;
pub mod bus;
mod cache;
pub mod confinement;
pub mod draft;
pub mod egress;
pub mod engine;
pub mod entropy;
pub mod error;
pub mod event_types;
pub mod events;
pub mod failpoint;
pub mod filter;
pub mod functions;
pub mod idempotency;
pub mod ids;
pub mod invocations;
pub mod json;
pub mod limits;
pub mod numbers;
pub mod pause;
#[cfg(feature = "accounts")]
pub mod platform;
pub mod ports;
pub mod rate;
pub mod request;
pub mod rights;
#[cfg(feature = "accounts")]
pub mod roles;
pub mod room;
pub mod secrets;
pub mod services;
pub mod site;
pub mod strict_json;
pub mod subscribers;
pub mod supervise;
pub mod tasks;
pub mod text;
pub mod time;
pub mod users;
pub mod validation;
pub mod vault;
