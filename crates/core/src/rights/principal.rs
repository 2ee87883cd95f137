//! A verified caller, or a function that acts for one.

use super::ceiling::{Ceiling, of_every_function};
use super::permission::{Permission, staff_may};
use super::{Actor, Proof};
use crate::engine::HostActor;
use crate::error::Error;
use crate::ids::{AppId, FunctionId, SiteId, UserId};
use crate::invocations::{Chain, OnBehalf};
use crate::json::JsonText;
use crate::ports::store::{Author, RoleGrant};
use crate::request::RequestInfo;
use crate::site::{Authority, TenantScope};
use crate::users::User;
use crate::users::events::UserParams;
use std::sync::Arc;

/// The answer to a request without a credential.
pub const NO_CREDENTIAL: &str = "Authentication credentials were not provided.";

/// A user whose credential was verified, with the roles that count now; or a function during one
/// call of its `sdk_client`, which may do what it declares *and* whoever it acts for may do.
#[derive(Debug, Clone)]
pub struct Principal {
    scope: TenantScope,
    /// None when nobody acts who has an account.
    user: Option<Arc<User>>,
    /// Somebody whom the embedding program knows.
    host: Option<Arc<HostActor>>,
    grants: Arc<[RoleGrant]>,
    /// The credential that was verified; none for what acts with the program's own right.
    proof: Option<Proof>,
    chain: Chain,
    /// The request that was made; none for what no request stands behind.
    request: Option<Arc<RequestInfo>>,
    /// None for whoever asks from outside.
    within: Option<Arc<Within>>,
}

/// The functions that bound a principal.
#[derive(Debug)]
struct Within {
    /// Outermost first, the asking one last; each of them bounds.
    ceilings: Vec<Arc<Ceiling>>,
    /// The outermost one acts by its own right, so that the user's rights do not count.
    as_function: bool,
    /// In whose name the asking run acts.
    actor: Actor,
}

impl Principal {
    /// Only for this crate's verification code.
    pub(crate) fn verified(scope: TenantScope, user: User, grants: Vec<RoleGrant>) -> Self {
        Self {
            scope,
            user: Some(Arc::new(user)),
            host: None,
            grants: grants.into(),
            proof: None,
            chain: Chain::default(),
            request: None,
            within: None,
        }
    }

    /// Nobody who is signed in, for what happens before a sign-in. Only for this crate's verification code.
    pub(crate) fn nobody(scope: TenantScope) -> Self {
        Self {
            scope,
            user: None,
            host: None,
            grants: Arc::default(),
            proof: None,
            chain: Chain::default(),
            request: None,
            within: None,
        }
    }

    /// Somebody whom the embedding program knows, who acts with what it says of them.
    pub fn of_host(authority: &Authority, site: SiteId, actor: Arc<HostActor>) -> Self {
        Self {
            host: Some(actor),
            ..Self::nobody(authority.scope(site))
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

    /// A function that acts for `caller`: `actor` is its run, and `ceilings` are those of the functions
    /// that bound it.
    pub(crate) fn of_function(
        caller: Option<Self>,
        actor: &Actor,
        mut ceilings: Vec<Arc<Ceiling>>,
    ) -> Self {
        use super::ceiling::ActsAs;
        let own_right = |it: &Arc<Ceiling>| it.rights.acts_as == ActsAs::Function;
        let first = ceilings.iter().rposition(own_right);
        // What stands before a function that acts by its own right says nothing about it.
        ceilings.drain(..first.unwrap_or(0));
        let (user, host, grants) = match caller {
            Some(caller) => (caller.user, caller.host, caller.grants),
            None => (None, None, Arc::default()),
        };
        let within = Within {
            ceilings,
            as_function: first.is_some(),
            actor: actor.clone(),
        };
        Self {
            scope: actor.scope(),
            user,
            host,
            grants,
            proof: None,
            chain: actor.chain.clone(),
            request: None,
            within: Some(Arc::new(within)),
        }
    }

    /// The same caller, who came with this credential.
    #[must_use]
    pub(crate) fn proved_by(mut self, proof: Proof) -> Self {
        self.proof = Some(proof);
        self
    }

    /// What proves the caller.
    pub(crate) const fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// The run of the function that this is, if it is one.
    pub(crate) fn actor(&self) -> Option<&Actor> {
        self.within.as_ref().map(|within| &within.actor)
    }

    /// The account whose rights count, as it was looked at; none where it is not an account's that do.
    pub(crate) fn author(&self) -> Option<Author> {
        let counts = match self.within {
            Some(_) => self.own_right().is_none(),
            None => self.proof.is_some(),
        };
        let user = self.user.as_ref().filter(|_| counts)?;
        Some(Author {
            user: user.id,
            revision: user.revision,
        })
    }

    /// The same caller, by this request.
    #[must_use]
    pub fn by_request(mut self, request: Arc<RequestInfo>) -> Self {
        self.request = Some(request);
        self
    }

    /// The same caller, as if this request stood behind it, or none.
    #[must_use]
    pub(crate) fn with_request(self, request: Option<RequestInfo>) -> Self {
        Self {
            request: request.map(Arc::new),
            ..self
        }
    }

    /// The request that stands behind what this caller does, if one does.
    pub fn request(&self) -> Option<&RequestInfo> {
        self.request.as_deref()
    }

    /// The same caller, as if at the end of this chain.
    #[must_use]
    pub(crate) fn at_end_of(self, chain: Chain) -> Self {
        Self { chain, ..self }
    }

    /// The same caller where `other` stands: by the same request, at the end of the same chain.
    #[must_use]
    pub(crate) fn in_place_of(self, other: &Self) -> Self {
        Self {
            request: other.request.clone(),
            ..self.at_end_of(other.chain.clone())
        }
    }

    /// The functions that stand between this caller and the request from outside.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The key to the site's data.
    pub const fn scope(&self) -> TenantScope {
        self.scope
    }

    /// Who acts; none when a function acts for nobody who is signed in.
    pub fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// The number of whoever acts.
    pub fn user_id(&self) -> Option<UserId> {
        let of_host = || self.host.as_ref()?.id;
        self.user.as_ref().map(|user| user.id).or_else(of_host)
    }

    /// What functions are told of whoever acts: `user_data`.
    pub(crate) fn data(&self) -> Option<JsonText> {
        match (&self.user, &self.host) {
            (Some(user), _) => JsonText::of(&UserParams::from(&**user)).ok(),
            (None, Some(host)) => host.data.clone(),
            (None, None) => None,
        }
    }

    /// Who acts, for what is somebody's own.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody who is signed in does.
    pub fn somebody(&self) -> Result<&User, Error> {
        self.user().ok_or(Error::Unauthenticated(NO_CREDENTIAL))
    }

    /// Whether this is a function, and not a request from outside.
    pub fn is_function(&self) -> bool {
        self.within.is_some()
    }

    /// The functions whose bounds count; none for a request from outside.
    pub fn ceilings(&self) -> &[Arc<Ceiling>] {
        self.within.as_ref().map_or(&[], |it| &it.ceilings)
    }

    /// Whether this may do what only superusers may. A function never does.
    pub fn is_superuser(&self) -> bool {
        let operator = || self.host.as_ref().is_some_and(|it| it.rights.is_operator());
        let superuser = || self.user().is_some_and(|user| user.is_superuser);
        !self.is_function() && (superuser() || operator())
    }

    /// In whose name a run acts that this principal causes.
    pub(crate) fn behalf(&self) -> OnBehalf {
        let Some(within) = &self.within else {
            return OnBehalf::default();
        };
        OnBehalf {
            asker: None,
            function: self.own_right(),
            from: within.actor.from,
        }
    }

    /// The function by whose own right this acts.
    fn own_right(&self) -> Option<FunctionId> {
        let within = self.within.as_ref().filter(|it| it.as_function)?;
        within.ceilings.first().map(|it| it.function)
    }

    /// Whether the caller may do this in `app`, or in the whole site when `app` is none.
    pub fn may(&self, permission: Permission, app: Option<AppId>) -> bool {
        self.functions_may(permission, app) && self.whoever_acts_may(permission, app)
    }

    /// The half of [`Self::may`] that is for the functions to say.
    pub(crate) fn functions_may(&self, permission: Permission, app: Option<AppId>) -> bool {
        let mut ceilings = self.ceilings().iter();
        ceilings.all(|ceiling| ceiling.permits(permission, app))
    }

    /// The half of [`Self::may`] that is for whoever acts to say.
    pub(crate) fn whoever_acts_may(&self, permission: Permission, app: Option<AppId>) -> bool {
        if self.own_right().is_some() {
            return true;
        }
        if let Some(host) = &self.host {
            return host.rights.may(permission, app);
        }
        let Some(user) = self.user() else {
            // Nobody adds nothing to what every function may.
            return of_every_function(permission);
        };
        user.is_superuser
            || (user.profile.is_staff && staff_may(permission))
            || self.grants.iter().any(|grant| {
                (grant.app_id.is_none() || grant.app_id == app) && grant.role.includes(permission)
            })
    }

    /// The apps in which a role of the app itself includes `permission`. For a function: its own app,
    /// if it may do this there.
    pub fn apps_with(&self, permission: Permission) -> Vec<AppId> {
        let own = self.ceilings().last().map(|ceiling| ceiling.app);
        let of_roles = self
            .grants
            .iter()
            .filter(|grant| grant.role.includes(permission))
            .filter_map(|grant| grant.app_id);
        let mut apps: Vec<_> = of_roles.chain(own).collect();
        apps.sort_unstable();
        apps.dedup();
        apps.retain(|app| self.may(permission, Some(*app)));
        apps
    }

    /// The same as [`Self::may`], as an error that names what is missing.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, permission: Permission, app: Option<AppId>) -> Result<(), Error> {
        if self.may(permission, app) {
            return Ok(());
        }
        let mut ceilings = self.ceilings().iter();
        let bound = ceilings.rfind(|ceiling| !ceiling.permits(permission, app));
        Err(Error::Forbidden(match bound {
            Some(ceiling) => lacks(ceiling, permission),
            None if !self.is_function() => format!(
                "You need the permission '{permission}' for this; ask an administrator for a role \
                 that includes it"
            ),
            None if self.user.is_none() => format!(
                "Nobody who is signed in caused this run, so nobody's permission '{permission}' \
                 counts; a function that is to do it by its own right has acts_as: \"function\""
            ),
            None => format!(
                "Whoever this run acts for needs the permission '{permission}' for this, beside the \
                 function; ask an administrator for a role that includes it"
            ),
        }))
    }
}

fn lacks(ceiling: &Ceiling, permission: Permission) -> String {
    let slug = &ceiling.slug;
    if !ceiling.approved {
        return format!(
            "This version of function '{slug}' was never active since its permissions were declared, \
             so it has none; run the active version"
        );
    }
    if ceiling.rights.permissions.contains(&permission) {
        return format!(
            "Function '{slug}' has the permission '{permission}' in its own app only; somebody who \
             holds it in the whole site can set permissions_scope: \"site\""
        );
    }
    format!(
        "Function '{slug}' has not declared the permission '{permission}'; somebody who holds it can \
         add it to the function's permissions"
    )
}
