//! What a function may do: what it declares, as far as whoever declared it held that, and no more.
//!
//! Must never be kept by a run: a ceiling is looked up for each call that a function makes.

use super::permission::{Permission, RoleName, staff_may};
use crate::ids::{AppId, FunctionId, UserId};
use crate::text::{self, text_enum};
use crate::time::Timestamp;
use crate::validation::FieldError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose rights count when a function asks the platform for something.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActsAs {
    /// What the function declares, and whoever it acts for may do.
    #[default]
    Caller,
    /// What the function declares, alone.
    Function,
}

/// Where declared permissions of an app hold.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GrantScope {
    /// In the function's own app.
    #[default]
    App,
    /// In every app of the site.
    Site,
}

text_enum!(ActsAs { Caller => "caller", Function => "function" });
text_enum!(GrantScope { App => "app", Site => "site" });

/// Who declared a function's permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The user.
    pub by: UserId,
    /// That user's name, when read from the store.
    pub by_username: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What a function declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionRights {
    /// In the order of the table, each once.
    pub permissions: Vec<Permission>,
    /// Where those of an app hold.
    pub scope: GrantScope,
    /// Whose rights count.
    pub acts_as: ActsAs,
    /// Who declared them; none while nobody has.
    pub granted: Option<Granted>,
}

impl FunctionRights {
    /// Whether both declare the same, whoever did.
    pub fn same_as(&self, other: &Self) -> bool {
        (&self.permissions, self.scope, self.acts_as)
            == (&other.permissions, other.scope, other.acts_as)
    }

    /// Whether nothing is declared: every caller may then change what runs.
    pub fn is_plain(&self) -> bool {
        self.permissions.is_empty() && self.acts_as == ActsAs::Caller
    }
}

impl Permission {
    /// Permissions by their names, in the order of the table, each once.
    ///
    /// # Errors
    /// One for each name that is none.
    pub fn parse_all(names: &[String]) -> Result<Vec<Self>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut found = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            match Self::from_text(name) {
                Some(permission) => found.push(permission),
                None => {
                    let field = format!("permissions.{index}");
                    errors.push(FieldError::new(field, unknown(name)));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let in_order = Self::ALL.into_iter().filter(|it| found.contains(it));
        Ok(in_order.collect())
    }
}

fn unknown(name: &str) -> String {
    let known = Permission::ALL.map(Permission::as_str);
    let shown = text::prefix(name, 64);
    match text::did_you_mean(name, known) {
        Some(meant) => format!("There is no permission '{shown}'; did you mean '{meant}'?"),
        None => format!(
            "There is no permission '{shown}'; use one of {}",
            known.join(", ")
        ),
    }
}

/// One function's rights at this moment, and where they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The function.
    pub function: FunctionId,
    /// Its slug.
    pub slug: String,
    /// Its app.
    pub app: AppId,
    /// That app's slug.
    pub app_slug: String,
    /// What it declares.
    pub rights: FunctionRights,
    /// Whether the version that asks has been the active one since the permissions were declared.
    /// What was never looked at by whoever declared them has none of them.
    pub approved: bool,
}

impl Ceiling {
    /// Whether the function may do this in `app`, or in the whole site when `app` is none, as far as
    /// it is for the function to say.
    pub fn permits(&self, permission: Permission, app: Option<AppId>) -> bool {
        if !self.approved {
            return false;
        }
        let declared = self.rights.permissions.contains(&permission);
        if !permission.is_of_an_app() || self.rights.scope == GrantScope::Site {
            return declared || (app == Some(self.app) && of_every_function(permission));
        }
        app == Some(self.app) && (declared || of_every_function(permission))
    }

    /// Whether the function holds all that such a role gives, wherever the role gives it. `of_app` is
    /// the slug of the role's app; none for the whole site.
    pub fn covers(&self, role: RoleName, of_app: Option<&str>) -> bool {
        let given = Permission::ALL.into_iter().filter(|it| role.includes(*it));
        match of_app {
            Some(app) => {
                let reaches = self.rights.scope == GrantScope::Site || app == self.app_slug;
                reaches && self.declares(given.filter(|it| it.is_of_an_app()))
            }
            None => self.rights.scope == GrantScope::Site && self.declares(given),
        }
    }

    /// Whether the function holds all that `is_staff` gives.
    pub fn covers_staff(&self) -> bool {
        let given = Permission::ALL.into_iter().filter(|it| staff_may(*it));
        self.rights.scope == GrantScope::Site && self.declares(given)
    }

    fn declares(&self, mut permissions: impl Iterator<Item = Permission>) -> bool {
        self.approved && permissions.all(|it| self.rights.permissions.contains(&it))
    }
}

/// What every function may in its own app, without declaring it.
pub(super) const fn of_every_function(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::FunctionsRead | Permission::FunctionsExecute
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: AppId = AppId(1);
    const OTHER: AppId = AppId(2);

    fn ceiling(permissions: &[Permission], scope: GrantScope) -> Ceiling {
        Ceiling {
            function: FunctionId(1),
            slug: "f".to_owned(),
            app: OWN,
            app_slug: "own".to_owned(),
            rights: FunctionRights {
                permissions: permissions.to_vec(),
                scope,
                ..FunctionRights::default()
            },
            approved: true,
        }
    }

    #[test]
    fn names_are_read_in_the_tables_order_and_slips_are_told() {
        let names = ["users.manage", "users.read", "users.manage"].map(str::to_owned);
        assert_eq!(
            Permission::parse_all(&names),
            Ok(vec![Permission::UsersRead, Permission::UsersManage])
        );
        let errors = Permission::parse_all(&["user.manage".to_owned(), "x".to_owned()]);
        let errors = errors.unwrap_err();
        assert!(errors[0].message.contains("did you mean 'users.manage'?"));
        assert!(errors[1].message.contains("use one of events.subscribe"));
    }

    #[test]
    fn a_function_without_permissions_reads_and_executes_in_its_own_app() {
        let plain = ceiling(&[], GrantScope::App);
        for permission in Permission::ALL {
            let expected = of_every_function(permission);
            assert_eq!(
                plain.permits(permission, Some(OWN)),
                expected,
                "{permission}"
            );
            assert!(!plain.permits(permission, Some(OTHER)), "{permission}");
            assert!(!plain.permits(permission, None), "{permission}");
        }
    }

    #[test]
    fn what_is_declared_holds_where_it_was_granted() {
        let all = |scope| ceiling(&Permission::ALL, scope);
        let (app, site) = (all(GrantScope::App), all(GrantScope::Site));
        for permission in Permission::ALL {
            let of_site = !permission.is_of_an_app();
            assert!(app.permits(permission, Some(OWN)), "{permission}");
            assert_eq!(
                app.permits(permission, Some(OTHER)),
                of_site,
                "{permission}"
            );
            assert_eq!(app.permits(permission, None), of_site, "{permission}");
            assert!(site.permits(permission, Some(OTHER)), "{permission}");
            assert!(site.permits(permission, None), "{permission}");
            let unseen = Ceiling {
                approved: false,
                ..site.clone()
            };
            assert!(!unseen.permits(permission, Some(OWN)), "{permission}");
        }
    }

    #[test]
    fn a_role_is_covered_by_all_of_its_permissions_where_it_holds() {
        let of = |role: RoleName| {
            let given = Permission::ALL.into_iter().filter(|it| role.includes(*it));
            given.collect::<Vec<_>>()
        };
        for role in RoleName::ALL {
            let mut given = of(role);
            let (app, site) = (
                ceiling(&given, GrantScope::App),
                ceiling(&given, GrantScope::Site),
            );
            assert!(app.covers(role, Some("own")), "{role}");
            assert!(!app.covers(role, Some("other")), "{role}");
            assert!(!app.covers(role, None), "{role}");
            assert!(site.covers(role, Some("other")), "{role}");
            assert!(site.covers(role, None), "{role}");
            // One missing is one too few.
            let missing = given.remove(0);
            assert!(missing.is_of_an_app());
            let less = ceiling(&given, GrantScope::Site);
            assert!(!less.covers(role, Some("own")) && !less.covers(role, None));
        }
        assert!(ceiling(&Permission::ALL, GrantScope::Site).covers_staff());
        assert!(!ceiling(&Permission::ALL, GrantScope::App).covers_staff());
    }
}
