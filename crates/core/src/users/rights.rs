//! Who may change whom. Without these rules a manager of users could take over an administrator.

use super::input::UpdateUser;
use super::model::{Profile, User};
use crate::auth::{Permission, Principal, RoleName};
use crate::error::Error;

/// Nobody gives themselves, or others, more than they may.
pub(super) fn may_set_staff(principal: &Principal, before: bool, after: bool) -> Result<(), Error> {
    if before == after || principal.user().is_superuser {
        return Ok(());
    }
    Err(Error::Forbidden(
        "Only a superuser may change is_staff".to_owned(),
    ))
}

/// Changing or deleting somebody else.
pub(super) fn may_change(principal: &Principal, target: &User) -> Result<(), Error> {
    principal.require(Permission::UsersManage, None)?;
    if principal.user().is_superuser {
        return Ok(());
    }
    if target.is_superuser {
        return Err(Error::Forbidden(
            "Only a superuser may change a superuser".to_owned(),
        ));
    }
    let admin = RoleName::Admin.as_str();
    let is_admin = |role: &String| role.rsplit(':').next() == Some(admin);
    let is_powerful = target.profile.is_staff || target.roles.iter().any(is_admin);
    if is_powerful && !principal.may(Permission::RolesAssign, None) {
        let message = "Only an administrator of the site may change staff and administrators";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}

/// Changing oneself: everything but what decides about one's own rights.
pub(super) fn may_change_self(before: &Profile, change: &UpdateUser) -> Result<(), Error> {
    let differs = |new: Option<bool>, old: bool| new.is_some_and(|new| new != old);
    if differs(change.is_staff, before.is_staff) || differs(change.is_active, before.is_active) {
        let message = "You cannot change is_staff or is_active of your own account";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}
