//! Apps.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{Caller, Can, Creation, InApp, Json, PageQuery, Paging, Path};
use crate::once::Once;
use crate::state::AppState;
use crate::views::AppView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tollgate_core::app::App;
use tollgate_core::auth::right;
use tollgate_core::services;
use utoipa::ToSchema;

/// An app to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApp {
    name: String,
    /// Made of the name unless set.
    slug: Option<String>,
    #[serde(default)]
    description: String,
}

/// Create App
#[utoipa::path(post, path = "/api/apps/", tag = "apps", operation_id = "apps_create",
    params(Once), request_body = CreateApp,
    responses((status = CREATED, body = Reply<AppView>), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    Can(access): Can<right::AppsCreate>,
    Creation(request, once): Creation<CreateApp>,
) -> Result<Response, ApiError> {
    let CreateApp {
        name,
        slug,
        description,
    } = request;
    let input = services::CreateApp {
        name,
        slug,
        description,
    };
    let apps = &app.platform().apps;
    let create = |remember| apps.create(&access, input, remember);
    once.answer(&app, access.principal(), created, create).await
}

fn created(app: App) -> (StatusCode, Reply<AppView>) {
    Reply::new("App created successfully", app.into()).created()
}

/// List Apps
#[utoipa::path(get, path = "/api/apps/", tag = "apps", operation_id = "apps_list",
    params(PageQuery), responses((status = OK, body = ListReply<AppView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Paging(page): Paging,
) -> Result<ListReply<AppView>, ApiError> {
    let page = app.platform().apps.list(&caller, page).await?;
    let apps = page.items.into_iter().map(AppView::from).collect();
    Ok(ListReply::new(
        "Apps retrieved successfully",
        apps,
        page.total,
    ))
}

/// Get App
#[utoipa::path(get, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_get",
    params(("app_slug" = String, Path, description = "App slug")),
    responses((status = OK, body = Reply<AppView>), ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(slug): Path<String>,
) -> Result<Reply<AppView>, ApiError> {
    let found = app.platform().apps.get(&caller, &slug).await?;
    Ok(Reply::new("App retrieved successfully", found.into()))
}

/// New values for an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateApp {
    name: Option<String>,
    description: Option<String>,
}

/// Update App
#[utoipa::path(patch, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_update",
    params(("app_slug" = String, Path, description = "App slug")), request_body = UpdateApp,
    responses((status = OK, body = Reply<AppView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    InApp(access): InApp<right::AppsManage>,
    Json(request): Json<UpdateApp>,
) -> Result<Reply<AppView>, ApiError> {
    let UpdateApp { name, description } = request;
    let input = services::UpdateApp { name, description };
    let updated = app.platform().apps.update(&access, input).await?;
    Ok(Reply::new("App updated successfully", updated.into()))
}

/// Delete App
#[utoipa::path(delete, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_delete",
    params(("app_slug" = String, Path, description = "App slug")),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    InApp(access): InApp<right::AppsManage>,
) -> Result<Reply<Nothing>, ApiError> {
    app.platform().apps.delete(&access).await?;
    Ok(Reply::new("App deleted successfully", Nothing {}))
}
