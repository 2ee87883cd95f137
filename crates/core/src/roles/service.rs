//! Giving and taking roles.
//!
//! A role's slug is `"app:role"` for one app and `"role"` for the whole site. Only who holds
//! `roles.assign` in the whole site comes this far, and that role includes every other, so nobody
//! gives more than they hold. A function comes this far if it declares it and, unless it acts by its
//! own right, whoever it acts for holds it; it touches no account whose rights it does not hold.

use super::events::{
    Named, POST_ROLE_ASSIGN, POST_ROLE_REVOKE, RoleAssignProposal, RoleRevokeProposal,
    RolesAssigned, RolesRevoked,
};
use crate::apps::App;
use crate::draft::Draft;
use crate::engine::{Engine, EventService, Fixed, Saving, Verdicts};
use crate::error::Error;
use crate::events::Event;
use crate::ids::UserId;
use crate::limits;
use crate::ports::store::{Change, Made, RoleGrant, ScopedStore};
use crate::rights::{AppAccess, Permission, Principal, RoleName, SiteAccess, right};
use crate::time::Timestamp;
use crate::users::{Standing, User, functions_may_change};
use crate::validation::FieldError;
use std::sync::Arc;

/// Gives and takes roles.
pub struct RoleService {
    engine: Arc<Engine>,
    events: EventService,
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
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            events: EventService::new(Arc::clone(&engine)),
            engine,
        }
    }

    /// Gives every role to every user. Returns how many pairs changed.
    ///
    /// # Errors
    /// [`Error::Validation`] that names the role or user that does not exist; a refusal of the PRE stage.
    pub async fn assign(
        &self,
        access: &SiteAccess<right::RolesAssign>,
        draft: Draft<RoleChange>,
    ) -> Result<u64, Error> {
        let principal = access.principal();
        let store = self.engine.scoped(principal.scope());
        let now = self.engine.clock.now();
        let (found, mut errors) = resolve(principal, &*store, draft.look()).await?;
        if draft.look().expires_at.is_some_and(|end| end <= now) {
            let message = "Choose a moment in the future";
            errors.push(FieldError::new("expires_at", message));
        }
        let change = draft.checked(errors)?;
        let (roles, expires_at) = (found.slugs(), change.expires_at);
        self.events.admit(POST_ROLE_ASSIGN, principal).await?;
        let pre = Event::of(RoleAssignProposal {
            roles: roles.clone(),
            users: found.named(),
            expires_at,
        });
        let (access, found, verdicts) = self.agreed(&pre, access, found).await?;
        let post = Event::of(RolesAssigned {
            roles,
            users: found.named(),
            expires_at,
        });
        let users = found.ids();
        let grants = found.grants.into_iter();
        let grants = grants.map(|grant| RoleGrant {
            expires_at,
            ..grant
        });
        let change = store.roles_assigned(users.clone(), grants.collect(), now);
        let saved = Saved {
            change,
            users,
            post,
            verdicts,
        };
        self.save(&access, saved).await
    }

    /// Takes every role from every user. Returns how many pairs there were.
    ///
    /// # Errors
    /// As [`Self::assign`].
    pub async fn revoke(
        &self,
        access: &SiteAccess<right::RolesAssign>,
        draft: Draft<RoleChange>,
    ) -> Result<u64, Error> {
        let principal = access.principal();
        let store = self.engine.scoped(principal.scope());
        let (found, errors) = resolve(principal, &*store, draft.look()).await?;
        draft.checked(errors)?;
        let roles = found.slugs();
        self.events.admit(POST_ROLE_REVOKE, principal).await?;
        let pre = Event::of(RoleRevokeProposal {
            roles: roles.clone(),
            users: found.named(),
        });
        let (access, found, verdicts) = self.agreed(&pre, access, found).await?;
        let users = found.named();
        let post = Event::of(RolesRevoked { roles, users });
        let users = found.ids();
        let change = store.roles_revoked(users.clone(), found.grants);
        let saved = Saved {
            change,
            users,
            post,
            verdicts,
        };
        self.save(&access, saved).await
    }

    /// Asks the PRE functions; then whoever asks is looked at again, and so are the accounts: functions take their
    /// time. The accounts are the same, whatever name leads to whom by now.
    async fn agreed(
        &self,
        pre: &Event,
        access: &SiteAccess<right::RolesAssign>,
        found: Resolved,
    ) -> Result<(SiteAccess<right::RolesAssign>, Resolved, Verdicts), Error> {
        let mut agreement = self.events.ask(pre, Fixed, access.principal()).await?;
        let verdicts = &mut agreement.verdicts;
        let access = self.events.still(access, verdicts, Ok).await?;
        let store = self.engine.scoped(access.principal().scope());
        let mut users = Vec::with_capacity(found.users.len());
        for user in found.users {
            let Some(now) = store.user(user.id).await? else {
                let gone = unknown("usernames".to_owned(), "user", &user.profile.username);
                return Err(Error::Validation(vec![gone]));
            };
            functions_may_change(access.principal(), Standing::of(&now))?;
            users.push(now);
        }
        let grants = found.grants;
        Ok((access, Resolved { users, grants }, agreement.verdicts))
    }

    /// Writes it, and forgets what memory keeps of these accounts. Returns how many pairs changed.
    async fn save(
        &self,
        access: &SiteAccess<right::RolesAssign>,
        Saved {
            change: (change, pairs),
            users,
            post,
            verdicts,
        }: Saved,
    ) -> Result<u64, Error> {
        let engine = Arc::clone(&self.engine);
        let site = access.principal().scope().site_id();
        let saving = Saving {
            change,
            posts: vec![post],
            verdicts,
            afterwards: Box::new(move || {
                let users = users.into_iter();
                users.for_each(|user| engine.principal_changed(site, Some(user)));
            }),
        };
        self.events.save(saving, access.principal()).await?;
        Ok(pairs.take().unwrap_or_default())
    }

    /// The roles of an app.
    pub fn app_roles(&self, access: &AppAccess<right::FunctionsRead>) -> Vec<AppRole> {
        RoleName::ALL
            .map(|role| AppRole::of(access.app(), role))
            .into()
    }
}

/// What is written of a change of roles.
struct Saved {
    /// With how many pairs it changes.
    change: (Change, Made<u64>),
    users: Vec<UserId>,
    post: Event,
    verdicts: Verdicts,
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

/// Roles and users that exist.
struct Resolved {
    users: Vec<User>,
    grants: Vec<RoleGrant>,
}

impl Resolved {
    fn slugs(&self) -> Vec<String> {
        self.grants.iter().map(RoleGrant::slug).collect()
    }

    fn ids(&self) -> Vec<UserId> {
        self.users.iter().map(|user| user.id).collect()
    }

    fn named(&self) -> Vec<Named> {
        self.users.iter().map(Named::from).collect()
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
) -> Result<(Resolved, Vec<FieldError>), Error> {
    let mut errors = Vec::new();
    check_count("roles", roles, &mut errors);
    check_count("usernames", usernames, &mut errors);
    // What is too long is not looked up.
    let most = limits::ROLE_ASSIGNMENT;
    let mut grants: Vec<RoleGrant> = Vec::with_capacity(roles.len().min(most));
    for (index, slug) in roles.iter().enumerate().take(most) {
        match find_role(store, slug).await? {
            Some(grant) if grants.contains(&grant) => {}
            Some(grant) => grants.push(grant),
            None => errors.push(unknown(format!("roles.{index}"), "role", slug)),
        }
    }
    let mut users: Vec<User> = Vec::with_capacity(usernames.len().min(most));
    for (index, username) in usernames.iter().enumerate().take(most) {
        match store.user_by_name(username).await? {
            Some(user) if users.iter().any(|known| known.id == user.id) => {}
            Some(user) => {
                functions_may_change(principal, Standing::of(&user))?;
                users.push(user);
            }
            None => errors.push(unknown(format!("usernames.{index}"), "user", username)),
        }
    }
    Ok((Resolved { users, grants }, errors))
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
