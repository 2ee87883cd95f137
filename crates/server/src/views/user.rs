//! Users.

use serde::Serialize;
use tollgate_core::json::Object;
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;
use utoipa::ToSchema;
use uuid::Uuid;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    id: i64,
    #[schema(value_type = String, format = "uuid")]
    uuid: Uuid,
    username: String,
    email: String,
    first_name: String,
    last_name: String,
    full_name: String,
    is_active: bool,
    is_staff: bool,
    is_superuser: bool,
    is_deleted: bool,
    #[schema(value_type = String, format = DateTime)]
    date_joined: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_login: Option<Timestamp>,
    #[schema(value_type = Object)]
    attributes: Object,
    roles: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let full_name = user.full_name();
        let profile = user.profile;
        Self {
            id: user.id.0,
            uuid: user.uuid,
            username: profile.username,
            email: profile.email,
            first_name: profile.first_name,
            last_name: profile.last_name,
            full_name,
            is_active: profile.is_active,
            is_staff: profile.is_staff,
            is_superuser: user.is_superuser,
            is_deleted: user.is_deleted,
            date_joined: user.date_joined,
            last_login: user.last_login,
            attributes: profile.attributes,
            roles: user.roles,
            created_at: user.created_at,
            updated_at: user.updated_at,
            damaged: user.damaged,
        }
    }
}
