//! The HTTP API, driven in-process over the real store and executor.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the right answer")]

mod app;
mod authorization;
mod connections;
mod filters_hidden;
mod hostile;
mod idempotency;
mod official_client;
mod openapi;
mod own_events;
mod platform_events;
mod public;
mod requests;
mod rights;
mod rights_used;
mod routes;
mod sdk;
mod snapshots;
mod spending;
mod tenants;
mod verdicts;
