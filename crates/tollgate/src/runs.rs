//! Looking at what ran.

use crate::builder::Tollgate;
use tokio::sync::broadcast;
use tollgate_core::error::Error;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{Invocation, InvocationChanged};
use tollgate_core::limits;
use tollgate_core::ports::store::{InvocationQuery, PageRequest};

impl Tollgate {
    /// Tells of changes from now on: ask for it before you look.
    pub fn changes(&self) -> Changes {
        Changes(self.inner.services.invocations.watch())
    }

    /// The newest runs, at most 100, without their logs; of one function if its slug is given.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn runs(&self, function: Option<&str>) -> Result<Vec<Invocation>, Error> {
        let query = InvocationQuery {
            function_slug: function.map(str::to_owned),
            ..InvocationQuery::default()
        };
        let page = PageRequest {
            limit: limits::PAGE_SIZE_MAX,
            offset: 0,
        };
        let listed = self
            .inner
            .services
            .invocations
            .list(&self.inner.program, query, page);
        Ok(listed.await?.items)
    }

    /// One run with its logs.
    ///
    /// # Errors
    /// [`Error::NotFound`], and when the database cannot be used.
    pub async fn run(&self, id: InvocationId) -> Result<Invocation, Error> {
        self.inner
            .services
            .invocations
            .get(&self.inner.program, id)
            .await
    }
}

/// Tells that runs have begun or ended. Made by [`Tollgate::changes`].
pub struct Changes(broadcast::Receiver<InvocationChanged>);

impl Changes {
    /// Waits until a run has begun or ended, and been written so. Several changes may be told as one: look at what
    /// stands there.
    pub async fn next(&mut self) {
        // Whoever lags behind has missed some, and looks all the same; at the end of the engine there is nothing to wait for.
        let _ = self.0.recv().await;
    }
}
