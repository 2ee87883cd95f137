//! How a running function reaches the platform: through whatever serves the API, with its own rights
//! and those of whoever it acts for, both as they are at that moment.

use super::Engine;
use crate::error::Error;
use crate::ids::{FunctionId, SiteId, VersionId};
use crate::ports::runtime::{HostCalls, HostError, HostErrorKind};
use crate::rights::{Access, Actor, BAD_CREDENTIAL, Ceiling, Principal};
use crate::secrets::OwnApp;
use async_trait::async_trait;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The answer to what asks for the rights of somebody who has none any more.
const GONE: &str = "Whoever this run acts for was deleted or switched off, so it has no rights";

/// Makes the platform's side of a function's `sdk_client`.
pub trait HostFactory: Send + Sync {
    /// Answers for a run of `actor`, whose rights it asks for at each call. The secrets of its own
    /// app are the function's, whoever it acts for.
    fn host(&self, actor: Actor, own: OwnApp) -> Arc<dyn HostCalls>;
}

/// Answers nothing: for engines without an API.
pub struct NobodysHost;

#[async_trait]
impl HostCalls for NobodysHost {
    async fn call(&self, method: &str, _: &RawValue) -> Result<Box<RawValue>, HostError> {
        let message = format!("{method}: there is no platform here that could answer");
        Err(HostError::new(HostErrorKind::Unauthenticated, message))
    }
}

impl Engine {
    /// The rights of a run at this moment: those of its functions, and of whoever it acts for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when whoever it acts for is gone; [`Error::Forbidden`] when one of
    /// its functions is.
    pub(crate) async fn principal_of(&self, actor: &Actor) -> Result<Principal, Error> {
        let (principal, is_gone) = self.acts_for(actor).await?;
        if is_gone && principal.behalf().function.is_none() {
            return Err(Error::Unauthenticated(GONE));
        }
        Ok(principal)
    }

    /// The same for what takes nobody's right: whoever it acts for may be gone, and is nobody then.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when one of its functions is gone.
    pub(crate) async fn publisher(&self, actor: &Actor) -> Result<Principal, Error> {
        Ok(self.acts_for(actor).await?.0)
    }

    /// A run's principal, and whether whoever it acts for is gone.
    async fn acts_for(&self, actor: &Actor) -> Result<(Principal, bool), Error> {
        let mut ceilings = Vec::new();
        for (function, version) in actor.bounds() {
            let ceiling = self.ceiling(actor.site, function, version).await?;
            let gone = || Error::Forbidden("The function that asks was deleted".to_owned());
            ceilings.push(ceiling.ok_or_else(gone)?);
        }
        let caller = match actor.user {
            None => None,
            Some(user) => self.callers.of(actor.site, user).await?,
        };
        let is_gone = actor.user.is_some() && caller.is_none();
        Ok((Principal::of_function(caller, actor, ceilings), is_gone))
    }

    /// The same access, if it is still held: for what is done after a wait.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the caller's credential has ended, [`Error::Forbidden`] when the
    /// right has; as [`Self::principal_of`] for a function.
    pub(crate) async fn still<A: Access>(&self, access: &A) -> Result<A, Error> {
        access.held_by(self.again(access.asker()).await?)
    }

    async fn again(&self, principal: &Principal) -> Result<Principal, Error> {
        if let Some(actor) = principal.actor() {
            return self.principal_of(actor).await;
        }
        let found = self.callers.again(principal).await?;
        let found = found.ok_or(Error::Unauthenticated(BAD_CREDENTIAL))?;
        Ok(found.in_place_of(principal))
    }

    /// What a function may do now; with `version`, as that version. None when it was deleted.
    pub(crate) async fn ceiling(
        &self,
        site: SiteId,
        function: FunctionId,
        version: Option<VersionId>,
    ) -> Result<Option<Arc<Ceiling>>, Error> {
        let load = async {
            let found = self.queue().ceiling(site, function, version).await?;
            Ok(found.map(Arc::new))
        };
        self.ceilings
            .get_or_load((site, function, version), load)
            .await
    }
}
