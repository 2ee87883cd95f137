//! A verified caller.

use super::permission::{Permission, staff_may};
use crate::chain::Chain;
use crate::error::Error;
use crate::ids::{AppId, SiteId, UserId};
use crate::ports::store::RoleGrant;
use crate::site::{Authority, TenantScope};
use crate::users::User;
use std::sync::Arc;

/// A user whose credential was verified, with the roles that count now.
#[derive(Debug, Clone)]
pub struct Principal {
    scope: TenantScope,
    user: Arc<User>,
    grants: Arc<[RoleGrant]>,
    chain: Chain,
}

impl Principal {
    /// Only for this crate's verification code.
    pub(crate) fn verified(scope: TenantScope, user: User, grants: Vec<RoleGrant>) -> Self {
        Self {
            scope,
            user: Arc::new(user),
            grants: grants.into(),
            chain: Chain::default(),
        }
    }

    /// For embedders and the command line, which act with the program's own right.
    pub fn by_authority(
        authority: &Authority,
        site: SiteId,
        user: User,
        grants: Vec<RoleGrant>,
    ) -> Self {
        Self::verified(authority.scope(site), user, grants)
    }

    /// The same caller, acting from within the last function of a chain.
    #[must_use]
    pub(crate) fn within_chain(mut self, chain: Chain) -> Self {
        self.chain = chain;
        self
    }

    /// The functions that stand between this caller and the request from outside.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The roles that count now.
    pub fn grants(&self) -> &[RoleGrant] {
        &self.grants
    }

    /// The key to the site's data.
    pub const fn scope(&self) -> TenantScope {
        self.scope
    }

    /// The user.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The user's number.
    pub fn user_id(&self) -> UserId {
        self.user.id
    }

    /// Whether the caller may do this in `app`, or in the whole site when `app` is none.
    pub fn may(&self, permission: Permission, app: Option<AppId>) -> bool {
        self.user.is_superuser
            || (self.user.profile.is_staff && staff_may(permission))
            || self.grants.iter().any(|grant| {
                (grant.app_id.is_none() || grant.app_id == app) && grant.role.includes(permission)
            })
    }

    /// The apps in which a role of the app itself includes `permission`.
    pub fn apps_with(&self, permission: Permission) -> Vec<AppId> {
        let including = self
            .grants
            .iter()
            .filter(|grant| grant.role.includes(permission));
        including.filter_map(|grant| grant.app_id).collect()
    }

    /// The same as [`Self::may`], as an error that names what is missing.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, permission: Permission, app: Option<AppId>) -> Result<(), Error> {
        if self.may(permission, app) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "You need the permission '{permission}' for this; ask an administrator for a role that includes it"
        )))
    }
}
