//! Who may change whom. Without these rules a manager of users could take over an administrator.

use super::input::UpdateUser;
use super::model::{Profile, User};
use crate::auth::{Permission, Principal, RoleName, not_from_a_function};
use crate::error::Error;

/// Nobody gives themselves, or others, more than they may.
pub(super) fn may_set_staff(principal: &Principal, before: bool, after: bool) -> Result<(), Error> {
    if before == after {
        return Ok(());
    }
    not_from_a_function(principal)?;
    if principal.user().is_superuser {
        return Ok(());
    }
    Err(Error::Forbidden(
        "Only a superuser may change is_staff".to_owned(),
    ))
}

/// Changing or deleting somebody else.
pub(super) fn may_change(principal: &Principal, target: &User) -> Result<(), Error> {
    principal.require(Permission::UsersManage, None)?;
    let has_rights = target.is_superuser || target.profile.is_staff || !target.roles.is_empty();
    if has_rights {
        not_from_a_function(principal)?;
    }
    if principal.user().is_superuser {
        return Ok(());
    }
    if target.is_superuser {
        return Err(Error::Forbidden(
            "Only a superuser may change a superuser".to_owned(),
        ));
    }
    let is_administrator = principal.may(Permission::RolesAssign, None);
    if !is_administrator && (target.profile.is_staff || may_more(target, principal)) {
        let message = "Only an administrator of the site may change somebody with more rights";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}

/// Whether a role of `target` includes something that `principal` may not do in the whole site.
fn may_more(target: &User, principal: &Principal) -> bool {
    let mut roles = target
        .roles
        .iter()
        .filter_map(|role| RoleName::from_text(role.rsplit(':').next().unwrap_or(role)));
    roles.any(|role| {
        Permission::ALL
            .into_iter()
            .any(|it| role.includes(it) && !principal.may(it, None))
    })
}

/// A new password for somebody is a way to act as them.
pub(super) fn may_set_password(principal: &Principal) -> Result<(), Error> {
    not_from_a_function(principal)
}

/// Changing oneself: everything but what decides about one's own rights. `attributes` are what others
/// keep about somebody; a function may be how they do it.
pub(super) fn may_change_self(
    principal: &Principal,
    before: &Profile,
    change: &UpdateUser,
) -> Result<(), Error> {
    let differs = |new: Option<bool>, old: bool| new.is_some_and(|new| new != old);
    if differs(change.is_staff, before.is_staff) || differs(change.is_active, before.is_active) {
        let message = "You cannot change is_staff or is_active of your own account";
        return Err(Error::Forbidden(message.to_owned()));
    }
    let attributes = change.attributes.as_ref();
    let from_outside = principal.chain().depth() == 0;
    if from_outside && attributes.is_some_and(|new| *new != before.attributes) {
        let message = "You cannot change the attributes of your own account; what is yours to set is \
                       at /api/users/me/preferences/";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Chain, Link};
    use crate::event::EventType;
    use crate::ids::FunctionId;
    use crate::ids::{SiteId, UserId};
    use crate::ports::store::RoleGrant;
    use crate::registry::spec;
    use crate::site::TenantScope;
    use crate::time::Timestamp;

    fn user(is_staff: bool, is_superuser: bool, roles: &[&str]) -> User {
        let crate::registry::Event::PreUserCreate(profile) =
            spec(EventType::PreUserCreate).sample_event()
        else {
            panic!("the sample is of its own type")
        };
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
            TenantScope::verified(SiteId(1)),
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

    #[test]
    fn a_function_changes_no_rights_whoever_caused_it() {
        let root = principal(user(false, true, &[]), None)
            .within_chain(Chain::new(vec![Link(FunctionId(1), None)]));
        assert!(may_set_staff(&root, false, true).is_err());
        assert!(may_set_password(&root).is_err());
        assert!(may_change(&root, &user(false, false, &["viewer"])).is_err());
        assert!(may_change(&root, &user(false, false, &[])).is_ok());
        assert!(may_set_staff(&root, true, true).is_ok());
    }
}
