//! What handlers share. Cloning is one reference count.

use crate::authenticate::{Accounts, Authenticate};
use crate::config::ServerConfig;
use crate::error::ApiError;
use axum::http::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, watch};
use tollgate_core::limits;
use tollgate_core::platform::Platform;
use tollgate_core::services::Services;
use tollgate_core::time::Clock;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

struct Shared {
    services: Arc<Services>,
    /// None where somebody else keeps accounts.
    accounts: Option<Arc<Platform>>,
    authenticate: Arc<dyn Authenticate>,
    config: ServerConfig,
    /// Begins the request ids of this start of the server.
    start: String,
    requests: AtomicU64,
    /// Turns true when the server stops: streams end then.
    stopping: watch::Sender<bool>,
    /// Turns true when the time for open requests is over.
    given_up: watch::Sender<bool>,
    /// Room for large bodies, in KiB.
    bodies: Arc<Semaphore>,
    /// Turns of requests with files.
    uploads: Arc<Semaphore>,
}

impl AppState {
    /// The platform with its own accounts.
    pub(crate) fn new(platform: Arc<Platform>, config: ServerConfig) -> Self {
        let authenticate = Arc::new(Accounts(Arc::clone(&platform)));
        let services = Arc::clone(platform.services());
        Self::of(services, Some(platform), authenticate, config)
    }

    /// An engine of another program, which keeps accounts itself.
    pub(crate) fn embedded(services: Arc<Services>, authenticate: Arc<dyn Authenticate>) -> Self {
        Self::of(services, None, authenticate, ServerConfig::default())
    }

    fn of(
        services: Arc<Services>,
        accounts: Option<Arc<Platform>>,
        authenticate: Arc<dyn Authenticate>,
        config: ServerConfig,
    ) -> Self {
        let start = format!("{:x}", services.clock.now().as_micros());
        let requests = AtomicU64::new(1);
        let stopping = watch::Sender::new(false);
        let given_up = watch::Sender::new(false);
        Self(Arc::new(Shared {
            services,
            accounts,
            authenticate,
            config,
            start,
            requests,
            stopping,
            given_up,
            bodies: Arc::new(Semaphore::new(limits::BODIES_BYTES / 1024)),
            uploads: Arc::new(Semaphore::new(limits::UPLOADS_AT_ONCE)),
        }))
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }

    /// The platform's accounts. Where somebody else keeps them, no route asks for these.
    pub(crate) fn accounts(&self) -> Result<&Platform, ApiError> {
        let accounts = self.0.accounts.as_deref();
        accounts.ok_or_else(|| ApiError::not_found("Path"))
    }

    /// Who tells whose a request is.
    pub(crate) fn authenticate(&self) -> &dyn Authenticate {
        &*self.0.authenticate
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.0.config
    }

    /// Room for large bodies, in KiB.
    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.0.bodies
    }

    /// Turns of requests with files, which are kept until these are stored.
    pub(crate) fn uploads(&self) -> &Arc<Semaphore> {
        &self.0.uploads
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.services.clock
    }

    /// An id that no other request of this server has had.
    pub(crate) fn next_request_id(&self) -> HeaderValue {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number:x}", self.0.start);
        // Hexadecimal and a dash are always allowed.
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
    }

    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Sends away whoever still waits.
    pub(crate) fn give_up(&self) {
        self.0.services.stop_waiting();
        self.0.given_up.send_replace(true);
    }

    /// Ends when the server stops.
    pub(crate) async fn stopped(&self) {
        turned(&self.0.stopping).await;
    }

    /// Ends when the time for open requests is over.
    pub(crate) async fn given_up(&self) {
        turned(&self.0.given_up).await;
    }
}

async fn turned(signal: &watch::Sender<bool>) {
    // The sender outlives this, so waiting cannot fail.
    let _ = signal.subscribe().wait_for(|turned| *turned).await;
}
