//! Apps: what functions, secrets and roles of a site belong to.

mod model;
mod service;

pub use model::App;
pub(crate) use service::app;
pub use service::{AppService, CreateApp, UpdateApp};
