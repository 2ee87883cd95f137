//! Apps and their roles.

use crate::words;
use serde::Serialize;
use std::collections::BTreeMap;
use tollgate_core::apps::App;
use tollgate_core::roles::AppRole;
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppView {
    id: i64,
    name: String,
    slug: String,
    description: String,
    /// Environment variables of all its functions, shown to those who may look at functions.
    env: BTreeMap<String, String>,
    /// Those that have the value of a secret, with the secret's key; shown to the same.
    secret_env: BTreeMap<String, String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        Self {
            id: app.id.0,
            name: app.name,
            slug: app.slug,
            description: app.description,
            env: app.variables.env,
            secret_env: app.variables.secret_env,
            created_at: app.created_at,
            updated_at: app.updated_at,
            damaged: app.damaged,
        }
    }
}

/// A role of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppRoleView {
    /// What `assign` and `revoke` take.
    slug: String,
    #[schema(schema_with = words::role)]
    name: &'static str,
    #[schema(schema_with = words::permissions)]
    permissions: Vec<&'static str>,
}

impl From<AppRole> for AppRoleView {
    fn from(role: AppRole) -> Self {
        let permissions = role.permissions.into_iter().map(|it| it.as_str()).collect();
        Self {
            slug: role.slug,
            name: role.role.as_str(),
            permissions,
        }
    }
}
