//! Secrets.

use serde::Serialize;
use tollgate_core::secrets::{Secret, SecretValue, Shown};
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// A secret. `value` is there when one secret was asked for, or some by their keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretView {
    key: String,
    /// Text or an object, as it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<SecretValue>,
    /// The app whose own it is; null for the site's.
    app: Option<String>,
    description: String,
    secret_type: String,
    tags: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<Shown> for SecretView {
    fn from(shown: Shown) -> Self {
        let Shown { secret, value } = shown;
        Self {
            key: secret.key,
            value,
            app: secret.app_slug,
            description: secret.description,
            secret_type: secret.secret_type,
            tags: secret.tags,
            created_at: secret.created_at,
            updated_at: secret.updated_at,
            damaged: secret.damaged,
        }
    }
}

impl From<Secret> for SecretView {
    /// Without its value.
    fn from(secret: Secret) -> Self {
        let value = None;
        Shown { secret, value }.into()
    }
}
