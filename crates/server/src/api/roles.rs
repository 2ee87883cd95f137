//! Giving and taking roles.

use crate::envelope::{ListReply, Reply};
use crate::error::ApiError;
use crate::extract::{Can, InApp, Json};
use crate::state::AppState;
use crate::views::AppRoleView;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_core::rights::right;
use tollgate_core::roles::RoleChange;
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// Every role is given to every user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignRoles {
    /// `app:role` for one app, `role` for the whole site; at most 100.
    roles: Vec<String>,
    /// At most 100.
    usernames: Vec<String>,
    /// When the roles end; never unless set.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// How many pairs of role and user changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changed {
    count: u64,
}

/// Assign Roles
#[utoipa::path(post, path = "/api/assign/roles/", tag = "roles", operation_id = "roles_assign",
    request_body = AssignRoles, responses((status = OK, body = Reply<Changed>), ApiError))]
pub(crate) async fn assign(
    State(app): State<AppState>,
    Can(access): Can<right::RolesAssign>,
    Json(request): Json<AssignRoles>,
) -> Result<Reply<Changed>, ApiError> {
    let change = request.map(|asked, _| RoleChange {
        roles: asked.roles,
        usernames: asked.usernames,
        expires_at: asked.expires_at,
    });
    let count = app.accounts()?.roles.assign(&access, change).await?;
    Ok(Reply::new(
        format!("Assigned {count} roles successfully"),
        Changed { count },
    ))
}

/// Every role is taken from every user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeRoles {
    /// `app:role` for one app, `role` for the whole site; at most 100.
    roles: Vec<String>,
    /// At most 100.
    usernames: Vec<String>,
}

/// Revoke Roles
#[utoipa::path(delete, path = "/api/revoke/roles/", tag = "roles",
    operation_id = "roles_revoke", request_body = RevokeRoles,
    responses((status = OK, body = Reply<Changed>), ApiError))]
pub(crate) async fn revoke(
    State(app): State<AppState>,
    Can(access): Can<right::RolesAssign>,
    Json(request): Json<RevokeRoles>,
) -> Result<Reply<Changed>, ApiError> {
    let change = request.map(|asked, _| RoleChange {
        roles: asked.roles,
        usernames: asked.usernames,
        expires_at: None,
    });
    let count = app.accounts()?.roles.revoke(&access, change).await?;
    Ok(Reply::new(
        format!("Revoked {count} roles successfully"),
        Changed { count },
    ))
}

/// List App Roles
#[utoipa::path(get, path = "/api/apps/{app_slug}/roles/", tag = "roles",
    operation_id = "roles_of_app", params(("app_slug" = String, Path, description = "App slug")),
    responses((status = OK, body = ListReply<AppRoleView>), ApiError))]
pub(crate) async fn app_roles(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
) -> Result<ListReply<AppRoleView>, ApiError> {
    let roles = app.accounts()?.roles.app_roles(&access);
    let roles = roles.into_iter().map(AppRoleView::from).collect();
    Ok(ListReply::all("Roles retrieved successfully", roles))
}
