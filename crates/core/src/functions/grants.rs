//! Declaring what a function may do, and changing what runs under it.
//!
//! Whoever does either must hold all that is declared: else a developer would inherit what an
//! administrator granted.

use crate::error::Error;
use crate::functions::{Function, FunctionOptions, Variables};
use crate::ids::AppId;
use crate::rights::{ActsAs, FunctionRights, GrantScope, Granted, Permission, Principal};
use crate::time::Timestamp;
use crate::validation::FieldError;

/// What a function is to declare; what is none stays as it is.
#[derive(Debug, Clone, Default)]
pub struct RightsInput {
    /// Names of the permission table.
    pub permissions: Option<Vec<String>>,
    /// Where those of an app hold.
    pub scope: Option<GrantScope>,
    /// Whose rights count.
    pub acts_as: Option<ActsAs>,
}

impl RightsInput {
    /// The names that are none.
    pub(super) fn unknown(&self) -> Vec<FieldError> {
        let names = self.permissions.as_deref().unwrap_or_default();
        Permission::parse_all(names).err().unwrap_or_default()
    }

    /// What will be declared in `app`, granted by `principal` if that is more than `before`. Taking
    /// away is free, and who granted the rest stays.
    ///
    /// # Errors
    /// [`Error::Validation`] for names that are none; [`Error::Forbidden`] for permissions that are
    /// added, or hold in more places or for more callers, and that the caller does not hold.
    pub(super) fn applied_to(
        self,
        before: &FunctionRights,
        principal: &Principal,
        app: AppId,
        now: Timestamp,
    ) -> Result<FunctionRights, Error> {
        let permissions = match self.permissions {
            Some(names) => Permission::parse_all(&names).map_err(Error::Validation)?,
            None => before.permissions.clone(),
        };
        let after = FunctionRights {
            permissions,
            scope: self.scope.unwrap_or(before.scope),
            acts_as: self.acts_as.unwrap_or(before.acts_as),
            granted: before.granted.clone(),
        };
        if after.same_as(before) {
            return Ok(after);
        }
        if principal.is_function() {
            let message = "No function sets what a function may do; do it over the API";
            return Err(Error::Forbidden(message.to_owned()));
        }
        if after.is_plain() {
            // Nothing is declared any more, by nobody.
            return Ok(FunctionRights {
                granted: None,
                ..after
            });
        }
        let added = added(before, &after);
        if added.permissions.is_empty() && !acts_more(before, &after) {
            return Ok(after);
        }
        must_hold(principal, app, &added, "set these permissions")?;
        let user = principal.somebody()?;
        Ok(FunctionRights {
            granted: Some(Granted {
                by: user.id,
                by_username: Some(user.profile.username.clone()),
                at: now,
            }),
            ..after
        })
    }
}

/// Whether the function acts by its own right, and did not before.
fn acts_more(before: &FunctionRights, after: &FunctionRights) -> bool {
    (before.acts_as, after.acts_as) == (ActsAs::Caller, ActsAs::Function)
}

/// What of `after` goes beyond `before`.
fn added(before: &FunctionRights, after: &FunctionRights) -> FunctionRights {
    let all = acts_more(before, after);
    let holds_wider = (before.scope, after.scope) == (GrantScope::App, GrantScope::Site);
    let permissions =
        after.permissions.iter().copied().filter(|it| {
            all || !before.permissions.contains(it) || (holds_wider && it.is_of_an_app())
        });
    FunctionRights {
        permissions: permissions.collect(),
        ..after.clone()
    }
}

/// What both declare: no more than either does.
fn common(one: &FunctionRights, other: &FunctionRights) -> FunctionRights {
    let both = |it: &Permission| other.permissions.contains(it);
    FunctionRights {
        permissions: one.permissions.iter().copied().filter(both).collect(),
        scope: if one.scope == GrantScope::App {
            GrantScope::App
        } else {
            other.scope
        },
        acts_as: if one.acts_as == ActsAs::Caller {
            ActsAs::Caller
        } else {
            other.acts_as
        },
        granted: one.granted.clone(),
    }
}

/// Refuses a change of what runs under `before` to whoever does not hold that. What is declared
/// afterwards was decided by [`RightsInput::applied_to`].
pub(super) fn may_change_what_runs(
    principal: &Principal,
    before: &Function,
    after: &Function,
    has_new_source: bool,
) -> Result<(), Error> {
    // Whoever takes permissions away, and holds the rest, has decided about all of them.
    let kept = common(&before.rights, &after.rights);
    if kept.is_plain() || !(has_new_source || touches_more_than_limits(before, after)) {
        return Ok(());
    }
    must_hold(
        principal,
        before.app_id,
        &kept,
        "change what runs with them",
    )
}

/// Refuses variables with the value of a secret to whoever may not read the secrets of this app, or without one those
/// of the site: `before` had those that are not new.
pub(crate) fn may_name_secrets(
    principal: &Principal,
    app: Option<AppId>,
    before: &Variables,
    after: &Variables,
) -> Result<(), Error> {
    let right = Permission::SecretsRead;
    match after.new_secrets(before).next() {
        Some((name, _)) if !principal.may(right, app) => Err(Error::Forbidden(format!(
            "To give variable {name} the value of a secret you must hold {}",
            right.as_str()
        ))),
        _ => Ok(()),
    }
}

/// Refuses what makes something else run under what `function` declares to whoever does not hold that.
pub(crate) fn may_replace(principal: &Principal, function: &Function) -> Result<(), Error> {
    let rights = &function.rights;
    if rights.is_plain() {
        return Ok(());
    }
    must_hold(
        principal,
        function.app_id,
        rights,
        "change what runs with them",
    )
}

/// Whether anything but limits, conditions and descriptions differs, and what is declared, which
/// [`RightsInput::applied_to`] has decided. What is added to a function later counts as more until it is
/// named here.
fn touches_more_than_limits(before: &Function, after: &Function) -> bool {
    let old = &before.options;
    let options = FunctionOptions {
        timeout_seconds: old.timeout_seconds,
        memory_mb: old.memory_mb,
        max_concurrency: old.max_concurrency,
        rate_limit: old.rate_limit.clone(),
        max_attempts: old.max_attempts,
        filter_conditions: old.filter_conditions.clone(),
        ..after.options.clone()
    };
    let harmless = Function {
        description: before.description.clone(),
        is_active: before.is_active,
        // What is taken out of public reach is no danger.
        is_public: before.is_public || after.is_public,
        async_mode: before.async_mode,
        options,
        rights: before.rights.clone(),
        updated_at: before.updated_at,
        ..after.clone()
    };
    harmless != *before
}

/// # Errors
/// [`Error::Forbidden`] that names what is missing.
pub(super) fn must_hold(
    principal: &Principal,
    app: AppId,
    rights: &FunctionRights,
    doing: &str,
) -> Result<(), Error> {
    let missing: Vec<_> = rights
        .permissions
        .iter()
        .filter(|permission| {
            let of_app = permission.is_of_an_app() && rights.scope == GrantScope::App;
            !principal.may(**permission, of_app.then_some(app))
        })
        .map(|permission| permission.as_str())
        .collect();
    if missing.is_empty() && !principal.is_function() {
        return Ok(());
    }
    let place = match rights.scope {
        GrantScope::App => "",
        GrantScope::Site => " in the whole site",
    };
    Err(Error::Forbidden(match missing.as_slice() {
        [] => format!("No function may {doing}; do it over the API"),
        missing => format!(
            "To {doing} you must hold what the function may do; you lack {}{place}",
            missing.join(", ")
        ),
    }))
}
