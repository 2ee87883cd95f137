//! Looking at what ran.

use crate::builder::Tollgate;
use tollgate_core::error::Error;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::Invocation;
use tollgate_core::limits;
use tollgate_core::ports::store::{InvocationQuery, PageRequest};

impl Tollgate {
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
