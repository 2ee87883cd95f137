//! What an operator may change about the HTTP server.

use crate::cors::CorsOrigins;
use std::time::Duration;
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;

/// What an operator may change about the HTTP server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// How long a client may take over a request's head, and how long an idle connection is kept.
    pub header_timeout: Duration,
    /// How long a client may take over a request's body.
    pub body_timeout: Duration,
    /// How long a client may not read while there is something for it.
    pub write_timeout: Duration,
    /// How long open requests may go on after the signal to stop.
    pub grace: Duration,
    /// Most connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// Whether the client's address is taken from `X-Forwarded-For`. Only behind a proxy that
    /// writes that header itself: anybody else could send a made-up one.
    pub trust_forwarded_for: bool,
    /// The origins whose pages may use the API.
    pub cors_origins: CorsOrigins,
    /// Watches the loops of this process: after a fault the server is not ready.
    pub supervisor: Supervisor,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            header_timeout: limits::HEADER_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            grace: Duration::from_secs(30),
            connections: limits::CONNECTIONS,
            trust_forwarded_for: false,
            cors_origins: CorsOrigins::default(),
            supervisor: Supervisor::default(),
        }
    }
}
