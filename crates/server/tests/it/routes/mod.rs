//! One file for each URL path.

mod api_keys;
mod app_events;
mod apps;
mod assign_roles;
mod bundles;
mod dead_letters;
mod event_types;
mod events;
mod execute;
mod explain;
mod functions;
mod health;
mod identity;
mod invocations;
mod login;
mod replay;
mod secrets;
mod subscribe;
mod token;
mod unsubscribe;
mod users;
