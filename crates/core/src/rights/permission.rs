//! The one table of rights.

use crate::text::text_enum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A built-in role of an app, or of the whole site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Everything within its app or site, short of making superusers.
    Admin,
    /// Deploys, subscribes, executes, redrives and reads.
    Developer,
    /// Reads.
    Viewer,
}

text_enum!(RoleName { Admin => "admin", Developer => "developer", Viewer => "viewer" });

/// One thing that a request may need the right to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// `events.subscribe`: subscribe a function of the app, or end that.
    EventsSubscribe,
    /// `apps.create`: make an app.
    AppsCreate,
    /// `apps.manage`: change or delete an app.
    AppsManage,
    /// `functions.read`: see functions, versions and code.
    FunctionsRead,
    /// `functions.deploy`: create, change, activate and delete functions.
    FunctionsDeploy,
    /// `functions.execute`: run a function.
    FunctionsExecute,
    /// `invocations.read`: see every invocation; without it, only one's own.
    InvocationsRead,
    /// `invocations.redrive`: run dead letters again, or discard them.
    InvocationsRedrive,
    /// `secrets.read`: see secrets with their values.
    SecretsRead,
    /// `secrets.manage`: create, change and delete secrets.
    SecretsManage,
    /// `users.read`: see other users.
    UsersRead,
    /// `users.manage`: create, change and delete users.
    UsersManage,
    /// `roles.assign`: give and take roles.
    RolesAssign,
}

text_enum!(Permission {
    EventsSubscribe => "events.subscribe",
    AppsCreate => "apps.create",
    AppsManage => "apps.manage",
    FunctionsRead => "functions.read",
    FunctionsDeploy => "functions.deploy",
    FunctionsExecute => "functions.execute",
    InvocationsRead => "invocations.read",
    InvocationsRedrive => "invocations.redrive",
    SecretsRead => "secrets.read",
    SecretsManage => "secrets.manage",
    UsersRead => "users.read",
    UsersManage => "users.manage",
    RolesAssign => "roles.assign",
});

impl Permission {
    /// Whether it is about something in an app. Others count only when held in the whole site.
    pub const fn is_of_an_app(self) -> bool {
        match self {
            Self::EventsSubscribe
            | Self::AppsManage
            | Self::FunctionsRead
            | Self::FunctionsDeploy
            | Self::FunctionsExecute
            | Self::InvocationsRead
            | Self::InvocationsRedrive
            | Self::SecretsRead
            | Self::SecretsManage => true,
            Self::AppsCreate | Self::UsersRead | Self::UsersManage | Self::RolesAssign => false,
        }
    }
}

impl RoleName {
    /// Whether this role includes `permission`.
    pub const fn includes(self, permission: Permission) -> bool {
        match permission {
            Permission::FunctionsRead | Permission::InvocationsRead | Permission::UsersRead => true,
            Permission::EventsSubscribe
            | Permission::FunctionsDeploy
            | Permission::FunctionsExecute
            | Permission::InvocationsRedrive
            | Permission::SecretsRead
            | Permission::SecretsManage => matches!(self, Self::Admin | Self::Developer),
            Permission::AppsCreate
            | Permission::AppsManage
            | Permission::UsersManage
            | Permission::RolesAssign => matches!(self, Self::Admin),
        }
    }
}

/// What `is_staff` alone gives, in the whole site: managing users, and reading.
pub(super) const fn staff_may(permission: Permission) -> bool {
    match permission {
        Permission::UsersRead
        | Permission::UsersManage
        | Permission::FunctionsRead
        | Permission::InvocationsRead => true,
        Permission::EventsSubscribe
        | Permission::AppsCreate
        | Permission::AppsManage
        | Permission::FunctionsDeploy
        | Permission::FunctionsExecute
        | Permission::InvocationsRedrive
        | Permission::SecretsRead
        | Permission::SecretsManage
        | Permission::RolesAssign => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../../docs/guide/permissions.md");

    /// The guide's table is this file's, row by row and in the same order.
    #[test]
    fn the_guide_says_the_same() {
        let rows: Vec<Vec<&str>> = GUIDE
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains('.'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), Permission::ALL.len());
        for (row, permission) in rows.iter().zip(Permission::ALL) {
            assert_eq!(row[1], format!("`{permission}`"));
            let roles = [RoleName::Admin, RoleName::Developer, RoleName::Viewer];
            for (cell, role) in row[3..6].iter().zip(roles) {
                let expected = match (role.includes(permission), permission.is_of_an_app()) {
                    (true, true) => "yes",
                    (true, false) => "yes (site)",
                    (false, _) => "",
                };
                assert_eq!(*cell, expected, "{permission} of {role}");
            }
            let staff = if staff_may(permission) { "yes" } else { "" };
            assert_eq!(row[6], staff, "{permission} of is_staff");
        }
    }
}
