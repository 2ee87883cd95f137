//! The real program, started as a user starts it and used over HTTP and the command line.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod bad_functions;
mod bundles;
mod commands;
mod damaged;
mod demo;
mod egress;
mod event_requests;
mod experiments;
mod guide;
mod house;
mod kill;
mod official_client;
mod openapi_document;
mod own_events;
mod raw_requests;
mod redaction;
mod secrets;
mod shares;
mod sign_in;
mod slow_pre;
mod stop;
mod support;
mod tenants;
mod variables;
mod walls;
mod webhooks;
