//! Giving and taking roles.
//!
//! A role's slug is `"app:role"` for one app and `"role"` for the whole site. Only who holds
//! `roles.assign` in the whole site comes this far, and that role includes every other, so nobody
//! gives more than they hold. A function comes this far if it declares it and, unless it acts by its
//! own right, whoever it acts for holds it; it touches no account whose rights it does not hold.

use super::access::{AppAccess, SiteAccess, right};
use super::{Permission, Principal, Principals, RoleName};
use crate::apps::App;
use crate::draft::Draft;
use crate::error::Error;
use crate::ids::UserId;
use crate::limits;
use crate::ports::store::{RoleGrant, ScopedStore, Store, Work, to_the_end};
use crate::time::{Clock, Timestamp};
use crate::users::{Standing, functions_may_change};
use crate::validation::FieldError;
use std::sync::Arc;

/// Gives and takes roles.
pub struct RoleService {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    principals: Arc<Principals>,
}

/// Which roles are given to, or taken from, whom.
#[derive(Debug, Clone)]
pub struct RoleChange {
    /// Slugs.
    pub roles: Vec<String>,
    /// Names.
    pub usernames: Vec<String>,
    /// When given roles end.
    pub expires_at: Option<Timestamp>,
}

/// A role that an app offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRole {
    /// `"app:role"`.
    pub slug: String,
    /// The role.
    pub role: RoleName,
    /// What it allows.
    pub permissions: Vec<Permission>,
}

impl RoleService {
    /// Puts the service together.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, principals: Arc<Principals>) -> Self {
        Self {
            store,
            clock,
            principals,
        }
    }

    /// Gives every role to every user. Returns how many pairs changed.
    ///
    /// # Errors
    /// [`Error::Validation`] that names the role or user that does not exist.
    pub async fn assign(
        &self,
        access: &SiteAccess<right::RolesAssign>,
        draft: Draft<RoleChange>,
    ) -> Result<u64, Error> {
        let now = self.clock.now();
        let scope = access.principal().scope();
        let store = self.store.scoped(scope);
        let (users, mut grants, mut errors) =
            resolve(access.principal(), &*store, draft.look()).await?;
        if draft.look().expires_at.is_some_and(|end| end <= now) {
            let message = "Choose a moment in the future";
            errors.push(FieldError::new("expires_at", message));
        }
        let change = draft.checked(errors)?;
        for grant in &mut grants {
            grant.expires_at = change.expires_at;
        }
        let principals = Arc::clone(&self.principals);
        let assigned = to_the_end(async move {
            let (change, made) = store.roles_assigned(users.clone(), grants, now);
            let work = Work {
                change: Some(change),
                ..Work::default()
            };
            store.commit(work).await?;
            let changed = made.take().unwrap_or_default();
            users
                .iter()
                .for_each(|user| principals.invalidate(scope.site_id(), *user));
            Ok(changed)
        });
        Ok(assigned.await?)
    }

    /// Takes every role from every user. Returns how many pairs there were.
    ///
    /// # Errors
    /// [`Error::Validation`] that names the role or user that does not exist.
    pub async fn revoke(
        &self,
        access: &SiteAccess<right::RolesAssign>,
        draft: Draft<RoleChange>,
    ) -> Result<u64, Error> {
        let scope = access.principal().scope();
        let store = self.store.scoped(scope);
        let (users, grants, errors) = resolve(access.principal(), &*store, draft.look()).await?;
        draft.checked(errors)?;
        let principals = Arc::clone(&self.principals);
        let revoked = to_the_end(async move {
            let (change, made) = store.roles_revoked(users.clone(), grants);
            let work = Work {
                change: Some(change),
                ..Work::default()
            };
            store.commit(work).await?;
            let removed = made.take().unwrap_or_default();
            users
                .iter()
                .for_each(|user| principals.invalidate(scope.site_id(), *user));
            Ok(removed)
        });
        Ok(revoked.await?)
    }

    /// The roles of an app.
    pub fn app_roles(&self, access: &AppAccess<right::FunctionsRead>) -> Vec<AppRole> {
        RoleName::ALL
            .map(|role| AppRole::of(access.app(), role))
            .into()
    }
}

impl AppRole {
    fn of(app: &App, role: RoleName) -> Self {
        let includes =
            |permission: &Permission| permission.is_of_an_app() && role.includes(*permission);
        let permissions = Permission::ALL.into_iter().filter(includes).collect();
        Self {
            slug: format!("{}:{role}", app.slug),
            role,
            permissions,
        }
    }
}

/// Finds users and roles, and says which of them does not exist. Of a function, also whether it may
/// touch these accounts.
async fn resolve(
    principal: &Principal,
    store: &dyn ScopedStore,
    RoleChange {
        roles, usernames, ..
    }: &RoleChange,
) -> Result<(Vec<UserId>, Vec<RoleGrant>, Vec<FieldError>), Error> {
    let mut errors = Vec::new();
    check_count("roles", roles, &mut errors);
    check_count("usernames", usernames, &mut errors);
    // What is too long is not looked up.
    let most = limits::ROLE_ASSIGNMENT;
    let mut grants = Vec::with_capacity(roles.len().min(most));
    for (index, slug) in roles.iter().enumerate().take(most) {
        match find_role(store, slug).await? {
            Some(grant) => grants.push(grant),
            None => errors.push(unknown(format!("roles.{index}"), "role", slug)),
        }
    }
    let mut users = Vec::with_capacity(usernames.len().min(most));
    for (index, username) in usernames.iter().enumerate().take(most) {
        match store.user_by_name(username).await? {
            Some(user) if users.contains(&user.id) => {}
            Some(user) => {
                functions_may_change(principal, Standing::of(&user))?;
                users.push(user.id);
            }
            None => errors.push(unknown(format!("usernames.{index}"), "user", username)),
        }
    }
    Ok((users, grants, errors))
}

async fn find_role(store: &dyn ScopedStore, slug: &str) -> Result<Option<RoleGrant>, Error> {
    let (app, role) = match slug.split_once(':') {
        Some((app, role)) => (Some(app), role),
        None => (None, slug),
    };
    let Some(role) = RoleName::from_text(role) else {
        return Ok(None);
    };
    let Some(app_slug) = app else {
        return Ok(Some(RoleGrant {
            app_id: None,
            app_slug: None,
            role,
            expires_at: None,
        }));
    };
    let app = store.app(app_slug).await?;
    Ok(app.map(|app| RoleGrant {
        app_id: Some(app.id),
        app_slug: Some(app.slug),
        role,
        expires_at: None,
    }))
}

fn check_count(field: &'static str, values: &[String], errors: &mut Vec<FieldError>) {
    if values.is_empty() {
        errors.push(FieldError::new(field, "Name at least one"));
    } else if values.len() > limits::ROLE_ASSIGNMENT {
        let message = format!("Name at most {} at once", limits::ROLE_ASSIGNMENT);
        errors.push(FieldError::new(field, message));
    }
}

fn unknown(field: String, what: &str, name: &str) -> FieldError {
    FieldError::new(
        field,
        format!("There is no {what} '{}'", crate::text::prefix(name, 100)),
    )
}
