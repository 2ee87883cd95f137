//! What signs a proxy function's deliveries: made with it, and made anew on demand.
//!
//! Must never show a secret twice.

use super::grants::may_replace;
use super::model::ExecutionMode;
use super::service::FunctionService;
use super::webhook::{FunctionRow, SigningSecret};
use crate::error::Error;
use crate::ids::AppId;
use crate::limits;
use crate::rights::{AppAccess, right};
use crate::site::TenantScope;
use crate::time::Timestamp;
use crate::vault::Sealed;
use zeroize::Zeroizing;

/// A new signing secret.
#[derive(Debug)]
pub struct RotatedSecret {
    /// As receivers' libraries take it: shown in this answer only.
    pub webhook_secret: Zeroizing<String>,
    /// Until when the one before it signs as well.
    pub previous_until: Timestamp,
}

impl FunctionService {
    /// A new signing secret: sealed for its function's row, and as it is shown once.
    pub(super) fn new_secret(
        &self,
        scope: TenantScope,
        app: AppId,
        slug: &str,
    ) -> (Sealed, Zeroizing<String>) {
        let engine = &self.engine;
        let secret = SigningSecret::generate(&*engine.entropy);
        let row = FunctionRow::new(scope.site_id(), app, slug);
        let sealed = secret.sealed(&engine.vault, &*engine.entropy, &row);
        (sealed, secret.to_text())
    }

    /// Gives a proxy function a new signing secret. The one before it signs beside it until the
    /// returned time, so that its receiver can change over.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a function that is no proxy; [`Error::Forbidden`] to whoever does not hold
    /// what the function may do: who knows the secret speaks to the receiver as the function.
    pub async fn rotate_secret(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        slug: &str,
    ) -> Result<RotatedSecret, Error> {
        let scope = access.principal().scope();
        let function = self.find(access, slug).await?;
        if function.execution_mode != ExecutionMode::Proxy {
            return Err(Error::BadRequest(format!(
                "Function '{}' calls no webhook, so nothing of it is signed",
                function.slug
            )));
        }
        may_replace(access.principal(), &function)?;
        let (sealed, webhook_secret) = self.new_secret(scope, function.app_id, &function.slug);
        let until = self.engine.clock.now().plus(limits::SIGNING_OVERLAP);
        let store = self.engine.scoped(scope);
        if !store
            .rotate_webhook_secret(function.id, sealed, until)
            .await?
        {
            return Err(Error::NotFound(format!("Function '{}'", function.slug)));
        }
        Ok(RotatedSecret {
            webhook_secret,
            previous_until: until,
        })
    }
}
