//! Who may change whom. Without these rules a manager of users could take over an administrator, and
//! whoever deploys in one app could through a function.

use super::input::UpdateUser;
use super::model::{Profile, User};
use crate::error::Error;
use crate::rights::{Ceiling, Permission, Principal, RoleName};

/// The rights that an account holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    is_superuser: bool,
    is_staff: bool,
    /// Role slugs.
    roles: &'a [String],
}

impl<'a> Standing<'a> {
    /// Of an account that exists.
    pub(crate) fn of(user: &'a User) -> Self {
        Self {
            is_superuser: user.is_superuser,
            is_staff: user.profile.is_staff,
            roles: &user.roles,
        }
    }

    /// Of an account that is about to be as `proposed`, and held these rights before.
    pub(crate) fn proposed(self, proposed: &Profile) -> Self {
        Self {
            is_staff: self.is_staff || proposed.is_staff,
            ..self
        }
    }

    /// Whether there is anything to protect.
    pub(crate) const fn holds_rights(&self) -> bool {
        self.is_superuser || self.is_staff || !self.roles.is_empty()
    }

    /// Of an account that does not exist yet.
    pub(crate) const fn none() -> Self {
        Self {
            is_superuser: false,
            is_staff: false,
            roles: &[],
        }
    }
}

/// An account that holds rights is changed by a function only if that holds them itself: the one
/// rule for what `sdk_client` asks for and for what a PRE function's patch changes. None: it may.
pub(crate) fn function_refusal(ceiling: &Ceiling, standing: Standing<'_>) -> Option<String> {
    let slug = &ceiling.slug;
    if standing.is_superuser {
        return Some(format!(
            "the account is a superuser's, which no function changes, '{slug}' neither"
        ));
    }
    if standing.is_staff && !ceiling.covers_staff() {
        return Some(format!(
            "the account is staff, and function '{slug}' does not hold all that staff may, in the \
             whole site"
        ));
    }
    let role = standing.roles.iter().find(|role| {
        let (app, name) = match role.split_once(':') {
            Some((app, name)) => (Some(app), name),
            None => (None, role.as_str()),
        };
        !RoleName::from_text(name).is_some_and(|role| ceiling.covers(role, app))
    })?;
    Some(format!(
        "the account has the role '{role}', and function '{slug}' has not declared every permission \
         of it where it holds"
    ))
}

/// As [`function_refusal`] for all functions that stand between `principal` and the request.
pub(crate) fn functions_may_change(
    principal: &Principal,
    standing: Standing<'_>,
) -> Result<(), Error> {
    let mut ceilings = principal.ceilings().iter();
    match ceilings.find_map(|ceiling| function_refusal(ceiling, standing)) {
        None => Ok(()),
        Some(reason) => Err(Error::Forbidden(format!("This is not done: {reason}"))),
    }
}

/// Nobody gives themselves, or others, more than they may.
pub(super) fn may_set_staff(principal: &Principal, before: bool, after: bool) -> Result<(), Error> {
    if before == after || principal.is_superuser() {
        return Ok(());
    }
    Err(Error::Forbidden(match principal.is_function() {
        true => "No function changes is_staff; do it over the API".to_owned(),
        false => "Only a superuser may change is_staff".to_owned(),
    }))
}

/// Changing an account as `change` says: oneself, or somebody else.
pub(super) fn may_update(
    principal: &Principal,
    before: &User,
    change: &UpdateUser,
) -> Result<(), Error> {
    if Some(before.id) == principal.user_id() {
        may_change_self(principal, before, change)?;
    } else {
        may_change(principal, before)?;
    }
    if change.password.is_some() {
        may_set_password(principal)?;
    }
    let after = change.applied_to(&before.profile);
    may_set_staff(principal, before.profile.is_staff, after.is_staff)
}

/// Changing or deleting somebody else.
pub(super) fn may_change(principal: &Principal, target: &User) -> Result<(), Error> {
    principal.require(Permission::UsersManage, None)?;
    functions_may_change(principal, Standing::of(target))?;
    // From here on only whoever acts is asked: what the functions may is decided.
    if principal.user().is_some_and(|user| user.is_superuser) {
        return Ok(());
    }
    if target.is_superuser {
        return Err(Error::Forbidden(
            "Only a superuser may change a superuser".to_owned(),
        ));
    }
    let is_administrator = principal.whoever_acts_may(Permission::RolesAssign, None);
    if !is_administrator && (target.profile.is_staff || may_more(target, principal)) {
        let message = "Only an administrator of the site may change somebody with more rights";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}

/// Whether a role of `target` includes something that whoever acts may not do in the whole site.
fn may_more(target: &User, principal: &Principal) -> bool {
    let mut roles = target
        .roles
        .iter()
        .filter_map(|role| RoleName::from_text(role.rsplit(':').next().unwrap_or(role)));
    roles.any(|role| {
        Permission::ALL
            .into_iter()
            .any(|it| role.includes(it) && !principal.whoever_acts_may(it, None))
    })
}

/// A new password for an account that exists is a way to act as its owner.
fn may_set_password(principal: &Principal) -> Result<(), Error> {
    if !principal.is_function() {
        return Ok(());
    }
    let message = "No function changes a password; do it over the API";
    Err(Error::Forbidden(message.to_owned()))
}

/// Changing oneself: everything but what decides about one's own rights. `attributes` are what others
/// keep about somebody; a function may be how they do it, with the permission that changing anybody takes.
fn may_change_self(principal: &Principal, before: &User, change: &UpdateUser) -> Result<(), Error> {
    if principal.is_function() && !principal.functions_may(Permission::UsersManage, None) {
        principal.require(Permission::UsersManage, None)?;
    }
    functions_may_change(principal, Standing::of(before))?;
    if principal.may(Permission::UsersManage, None) {
        return Ok(());
    }
    let differs = |new: Option<bool>, old: bool| new.is_some_and(|new| new != old);
    let profile = &before.profile;
    if differs(change.is_staff, profile.is_staff) || differs(change.is_active, profile.is_active) {
        let message = "You cannot change is_staff or is_active of your own account";
        return Err(Error::Forbidden(message.to_owned()));
    }
    let changes_attributes = change.applied_to(profile).attributes != profile.attributes;
    if !principal.is_function() && changes_attributes {
        let message = "You cannot change the attributes of your own account; what is yours to set is \
                       at /api/users/me/preferences/";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::LifecycleEvent as _;
    use crate::ids::{AppId, FunctionId, SiteId, UserId, VersionId};
    use crate::invocations::{Chain, Link};
    use crate::ports::store::RoleGrant;
    use crate::rights::{Actor, ActsAs, FunctionRights, GrantScope};
    use crate::site::Authority;
    use crate::time::Timestamp;
    use crate::users::events::UserCreateProposal;
    use std::sync::Arc;

    fn user(is_staff: bool, is_superuser: bool, roles: &[&str]) -> User {
        let UserCreateProposal(profile) = UserCreateProposal::sample();
        let now = Timestamp::from_micros(0);
        User {
            id: UserId(1),
            uuid: uuid::Uuid::nil(),
            profile: Profile {
                is_staff,
                ..profile
            },
            is_superuser,
            is_deleted: false,
            date_joined: now,
            last_login: None,
            roles: roles.iter().map(ToString::to_string).collect(),
            created_at: now,
            updated_at: now,
            revision: 1,
            damaged: Vec::new(),
        }
    }

    fn principal(user: User, site_role: Option<RoleName>) -> Principal {
        let grants = site_role.map(|role| RoleGrant {
            app_id: None,
            app_slug: None,
            role,
            expires_at: None,
        });
        Principal::verified(
            Authority::of_this_program().scope(SiteId(1)),
            user,
            grants.into_iter().collect(),
        )
    }

    #[test]
    fn nobody_changes_somebody_with_more_rights() {
        let staff = principal(user(true, false, &[]), None);
        let admin = principal(user(false, false, &[]), Some(RoleName::Admin));
        let root = principal(user(false, true, &[]), None);
        let nobody = principal(user(false, false, &[]), None);
        // Target; then whether staff, a site's admin and a superuser may change it.
        for (target, staff_may, admin_may) in [
            (user(false, false, &[]), true, true),
            (user(false, false, &["viewer"]), true, true),
            (user(false, false, &["developer"]), false, true),
            (user(false, false, &["crm:developer"]), false, true),
            (user(false, false, &["crm:admin"]), false, true),
            (user(true, false, &[]), false, true),
            (user(false, true, &[]), false, false),
        ] {
            let roles = &target.roles;
            assert_eq!(
                may_change(&staff, &target).is_ok(),
                staff_may,
                "staff on {roles:?}"
            );
            assert_eq!(
                may_change(&admin, &target).is_ok(),
                admin_may,
                "admin on {roles:?}"
            );
            assert!(may_change(&root, &target).is_ok(), "root on {roles:?}");
            assert!(may_change(&nobody, &target).is_err(), "nobody on {roles:?}");
        }
    }

    /// A function that declares `permissions` where `scope` says, and acts for `user`.
    fn function(
        permissions: &[Permission],
        scope: GrantScope,
        acts_as: ActsAs,
        user: Option<User>,
    ) -> Principal {
        let ceiling = Ceiling {
            function: FunctionId(1),
            slug: "f".to_owned(),
            app: AppId(1),
            app_slug: "crm".to_owned(),
            rights: FunctionRights {
                permissions: permissions.to_vec(),
                scope,
                acts_as,
                granted: None,
            },
            approved: true,
        };
        let caller = user.map(|user| principal(user, None));
        let actor = Actor {
            site: SiteId(1),
            user: None,
            chain: Chain::new(vec![Link(FunctionId(1), None)]),
            from: 0,
            version: VersionId(1),
        };
        Principal::of_function(caller, &actor, vec![Arc::new(ceiling)])
    }

    #[test]
    fn a_function_changes_an_account_with_rights_only_if_it_holds_them() {
        let of = |role: RoleName| {
            let given = Permission::ALL.into_iter().filter(|it| role.includes(*it));
            given.chain([Permission::UsersManage]).collect::<Vec<_>>()
        };
        let (viewer, manager) = (of(RoleName::Viewer), vec![Permission::UsersManage]);
        let all = Permission::ALL.to_vec();
        let root = || Some(user(false, true, &[]));
        let plain = || user(false, false, &[]);
        for (declared, scope, target, may) in [
            (&vec![], GrantScope::Site, plain(), false),
            (&manager, GrantScope::App, plain(), true),
            (
                &manager,
                GrantScope::Site,
                user(false, false, &["crm:viewer"]),
                false,
            ),
            (
                &viewer,
                GrantScope::App,
                user(false, false, &["crm:viewer"]),
                true,
            ),
            (
                &viewer,
                GrantScope::App,
                user(false, false, &["other:viewer"]),
                false,
            ),
            (
                &viewer,
                GrantScope::App,
                user(false, false, &["viewer"]),
                false,
            ),
            (
                &viewer,
                GrantScope::Site,
                user(false, false, &["viewer"]),
                true,
            ),
            (
                &viewer,
                GrantScope::Site,
                user(false, false, &["crm:developer"]),
                false,
            ),
            (
                &viewer,
                GrantScope::Site,
                user(false, false, &["no-such-role"]),
                false,
            ),
            (&all, GrantScope::App, user(true, false, &[]), false),
            (&all, GrantScope::Site, user(true, false, &["admin"]), true),
            (&all, GrantScope::Site, user(false, true, &[]), false),
        ] {
            for (acts_as, acting) in [(ActsAs::Caller, root()), (ActsAs::Function, None)] {
                let it = function(declared, scope, acts_as, acting);
                let (roles, staff) = (&target.roles, target.profile.is_staff);
                assert_eq!(
                    may_change(&it, &target).is_ok(),
                    may,
                    "{declared:?} {scope} {acts_as} on {roles:?}, staff {staff}"
                );
            }
        }
    }

    #[test]
    fn whoever_a_function_acts_for_must_hold_the_right_as_well() {
        let (declared, scope) = (Permission::ALL, GrantScope::Site);
        let target = user(false, false, &[]);
        for (acting, may) in [
            (None, false),
            (Some(user(false, false, &[])), false),
            (Some(user(true, false, &[])), true),
        ] {
            let it = function(&declared, scope, ActsAs::Caller, acting.clone());
            assert_eq!(may_change(&it, &target).is_ok(), may, "{acting:?}");
            let alone = function(&declared, scope, ActsAs::Function, acting);
            assert!(may_change(&alone, &target).is_ok());
        }
    }

    #[test]
    fn no_function_sets_staff_or_a_password_whatever_it_holds() {
        for acts_as in ActsAs::ALL {
            let root = Some(user(false, true, &[]));
            let it = function(&Permission::ALL, GrantScope::Site, acts_as, root);
            assert!(may_set_staff(&it, false, true).is_err());
            assert!(may_set_staff(&it, true, false).is_err());
            assert!(may_set_staff(&it, true, true).is_ok());
            assert!(may_set_password(&it).is_err());
        }
    }
}
