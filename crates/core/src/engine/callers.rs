//! Who callers are, asked anew whenever a run uses their rights. Whoever keeps accounts answers: the engine keeps none.

use crate::ids::{AppId, SiteId, UserId};
use crate::json::JsonText;
use crate::ports::store::StoreError;
use crate::rights::{Permission, Principal};
use async_trait::async_trait;
use std::fmt;

/// The accounts behind runs.
#[async_trait]
pub trait Callers: Send + Sync {
    /// Somebody with the rights that count now; none when they are gone or switched off.
    async fn of(&self, site: SiteId, user: UserId) -> Result<Option<Principal>, StoreError>;

    /// What functions are told of whoever caused a run, who may have been switched off since: `user_data`.
    async fn data(&self, site: SiteId, user: UserId) -> Result<Option<JsonText>, StoreError>;

    /// The same caller with the rights that count now; none when what proved them holds no more. Only for callers
    /// who are no function.
    async fn again(&self, principal: &Principal) -> Result<Option<Principal>, StoreError>;
}

/// What somebody may do whom an embedding program knows.
pub trait Rights: fmt::Debug + Send + Sync {
    /// Whether they may do this in `app`, or in the whole site when `app` is none.
    fn may(&self, permission: Permission, app: Option<AppId>) -> bool;

    /// Whether they are who runs the program, and may offer its own functions.
    fn is_operator(&self) -> bool {
        false
    }
}

/// Somebody whom an embedding program knows, and this one has no account of.
#[derive(Debug)]
pub struct HostActor {
    /// The number by which records name them, if they have one.
    pub id: Option<UserId>,
    /// What functions are told of them: an object.
    pub data: Option<JsonText>,
    /// What they may do.
    pub rights: Box<dyn Rights>,
}
