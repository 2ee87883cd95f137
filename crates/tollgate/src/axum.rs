//! The API of events, functions, runs and secrets as an [`axum::Router`], with the program's own accounts.
//!
//! Account routes (users, roles, sign-in) are not part of it: they are the program's.

use crate::actor::Actor;
use crate::builder::Tollgate;
use async_trait::async_trait;
use axum::http::HeaderMap;
use std::sync::Arc;
use tollgate_core::error::Error;
use tollgate_core::rights::{NO_CREDENTIAL, Principal};
use tollgate_core::site::Site;

pub use axum::Router;
pub use axum::http;

/// Tells whose a request is.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Who asks, by what the request's head says; none for nobody, who is answered 401.
    /// [`Tollgate::manager`] makes somebody who may do everything that these routes offer, [`Tollgate::actor`] somebody who
    /// sees only what they caused.
    async fn authenticate(&self, headers: &HeaderMap) -> Option<Actor>;
}

/// The host's answers, as the routes ask.
struct OfHost<A> {
    site: Arc<Site>,
    host: A,
}

#[async_trait]
impl<A: Authenticate> tollgate_server::Authenticate for OfHost<A> {
    async fn site(&self, _: &str) -> Result<Arc<Site>, Error> {
        Ok(Arc::clone(&self.site))
    }

    async fn caller(&self, _: &Site, headers: &HeaderMap) -> Result<Principal, Error> {
        let actor = self.host.authenticate(headers).await;
        let actor = actor.ok_or(Error::Unauthenticated(NO_CREDENTIAL))?;
        Ok(actor.0)
    }
}

/// The routes, below `/api/`. Nest them under a prefix: `Router::new().nest("/tollgate", router(&tollgate, host))`.
///
/// Functions of the engine reach the same routes through their `sdk_client`, as long as the router lives. Call it once: a second
/// router serves requests, and functions go on using the first.
pub fn router(tollgate: &Tollgate, host: impl Authenticate) -> Router {
    let site = Arc::new(tollgate.inner.site.clone());
    let authenticate = Arc::new(OfHost { site, host });
    tollgate_server::embedded(&tollgate.inner.services, authenticate)
}
