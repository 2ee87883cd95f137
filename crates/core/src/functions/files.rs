//! Files of versions on their way into the store and out of it.
//!
//! Must never give files of one site to another: they are named by what is in them, within a site.

use super::service::FunctionService;
use crate::error::Error;
use crate::functions::{Bundle, BundleDigest, PackedBundle};
use crate::rights::{AppAccess, right};
use crate::site::TenantScope;
use crate::validation::FieldError;
use std::sync::Arc;

impl FunctionService {
    /// Stores files, which a version may then name. What no version names goes again some time later.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_bundle(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        packed: PackedBundle,
    ) -> Result<(), Error> {
        let PackedBundle { digest, encoded } = packed;
        let store = self.engine.scoped(access.principal().scope());
        let now = self.engine.clock.now();
        Ok(store.keep_bundle(digest, encoded, now).await?)
    }

    /// The files with this digest. That there are none is added to `errors`.
    pub(super) async fn bundle(
        &self,
        scope: TenantScope,
        digest: Option<&BundleDigest>,
        errors: &mut Vec<FieldError>,
    ) -> Result<Option<(BundleDigest, Arc<Bundle>)>, Error> {
        let Some(digest) = digest else {
            return Ok(None);
        };
        let Some(encoded) = self.engine.scoped(scope).bundle(digest).await? else {
            let message = "This site has no such bundle; send the files with multipart/form-data";
            errors.push(FieldError::new("bundle", message));
            return Ok(None);
        };
        let bundle = Bundle::decode(&encoded)
            .map_err(|fault| Error::Internal(format!("the stored bundle {digest}: {fault}")))?;
        Ok(Some((digest.clone(), Arc::new(bundle))))
    }
}
