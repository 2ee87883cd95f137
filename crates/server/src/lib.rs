//! Tollgate's HTTP API.
//!
//! Handlers parse, make one call into `tollgate-core` and map the answer; they decide nothing.
//! Whether a caller may do something is decided in an extractor or in core, never in a handler.
//! Nothing here knows SQL or runs functions.

mod api;
mod authenticate;
mod config;
mod cors;
mod edge;
mod envelope;
mod error;
mod extract;
mod head;
mod host;
mod metrics;
mod once;
mod openapi;
mod paths;
mod patience;
mod reading;
mod refusal;
mod serve;
mod state;
mod unread;
mod views;
mod webhooks;
mod words;

pub use authenticate::Authenticate;
pub use config::ServerConfig;
pub use cors::CorsOrigins;
pub use metrics::recorder as metrics_recorder;
pub use openapi::openapi;
pub use serve::Server;
pub use serve::embedded;
