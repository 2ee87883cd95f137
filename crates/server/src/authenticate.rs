//! Who asks: the one question that the routes leave to whoever keeps accounts.

use crate::extract::credential;
use async_trait::async_trait;
use axum::http::HeaderMap;
use std::sync::Arc;
use tollgate_core::error::Error;
use tollgate_core::platform::Platform;
use tollgate_core::rights::{NO_CREDENTIAL, Principal};
use tollgate_core::site::Site;

/// Tells whose a request is.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// The site that a host name leads to.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it leads to none.
    async fn site(&self, host: &str) -> Result<Arc<Site>, Error>;

    /// Who asks, by what the request's head says.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it proves nothing.
    async fn caller(&self, site: &Site, headers: &HeaderMap) -> Result<Principal, Error>;
}

/// The platform's own accounts.
pub(crate) struct Accounts(pub(crate) Arc<Platform>);

#[async_trait]
impl Authenticate for Accounts {
    async fn site(&self, host: &str) -> Result<Arc<Site>, Error> {
        self.0.auth.sites().site(host).await
    }

    async fn caller(&self, site: &Site, headers: &HeaderMap) -> Result<Principal, Error> {
        let credential = credential(headers).ok_or(Error::Unauthenticated(NO_CREDENTIAL))?;
        self.0.auth.verify(site, credential).await
    }
}
