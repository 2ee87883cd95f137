//! How a running function reaches the platform: through whatever serves the API, with the rights
//! of whoever caused the run.

use crate::auth::Principal;
use crate::ports::runtime::{HostCalls, HostError};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// Makes the platform's side of a function's `sdk_client`.
pub trait HostFactory: Send + Sync {
    /// Answers with the rights of `principal`, which already counts the function as one more link
    /// of the chain.
    fn host(&self, principal: Principal) -> Arc<dyn HostCalls>;
}

/// Answers nothing: for public calls, runs whose user is gone, and engines without an API.
pub struct NobodysHost;

#[async_trait]
impl HostCalls for NobodysHost {
    async fn call(&self, method: &str, _: Value) -> Result<Value, HostError> {
        Err(HostError {
            code: "UNAUTHORIZED",
            status: 401,
            message: format!(
                "{method}: nobody who is signed in caused this run, so sdk_client has no rights"
            ),
        })
    }
}
