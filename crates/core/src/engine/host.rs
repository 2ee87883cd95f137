//! How a running function reaches the platform: through whatever serves the API, with the rights
//! of whoever caused the run.

use crate::auth::Principal;
use crate::ports::runtime::{HostCalls, HostError};
use crate::secrets::OwnApp;
use async_trait::async_trait;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Makes the platform's side of a function's `sdk_client`.
pub trait HostFactory: Send + Sync {
    /// Answers with the rights of `principal`, which already counts the function as one more link
    /// of the chain; none for public calls and runs whose user is gone. The secrets of its own app
    /// are the function's, whoever caused the run.
    fn host(&self, principal: Option<Principal>, own: OwnApp) -> Arc<dyn HostCalls>;
}

/// Answers nothing: for engines without an API, and for what needs a user where there is none.
pub struct NobodysHost;

#[async_trait]
impl HostCalls for NobodysHost {
    async fn call(&self, method: &str, _: &RawValue) -> Result<Box<RawValue>, HostError> {
        let message = format!(
            "{method}: nobody who is signed in caused this run, so sdk_client has no rights"
        );
        Err(HostError::new("UNAUTHORIZED", 401, message))
    }
}
