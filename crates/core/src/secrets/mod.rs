//! Secrets of apps and of the whole site: what functions need to reach others and nobody else may
//! read.
//!
//! A secret is the app's own or the site's; an app's own hides the site's of the same key. Values
//! are sealed in the store. Must never put a value into an error, a log line or a list.

mod access;
mod input;
mod loading;
mod model;
mod redaction;
mod service;

pub use access::{OwnApp, TierAccess};
pub use input::{CreateSecret, UpdateSecret};
pub(crate) use loading::OfEngine;
pub use model::{NewSecret, SealedSecret, Secret, SecretChange, SecretQuery, SecretValue, Shown};
pub(crate) use redaction::Told;
pub use service::SecretService;
