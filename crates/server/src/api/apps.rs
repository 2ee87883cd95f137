//! Apps.

use super::functions::variables;
use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{
    Caller, Can, Change, Conditions, Creation, IfMatch, IfNoneMatch, InApp, PageQuery, Paging,
    Path, Updates, given, set, tagged,
};
use crate::once::{Once, holding};
use crate::state::AppState;
use crate::views::AppView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use std::collections::BTreeMap;
use tollgate_core::apps::{self, App};
use tollgate_core::functions::Variables;
use tollgate_core::rights::right;
use utoipa::ToSchema;

/// An app to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApp {
    name: String,
    /// Made of the name unless set.
    slug: Option<String>,
    description: Option<String>,
    /// Environment variables of all its functions.
    env: Option<BTreeMap<String, String>>,
    /// Environment variables that have the value of a secret of the site, each with the secret's key. You must be able
    /// to read the site's secrets.
    secret_env: Option<BTreeMap<String, String>>,
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
    let input = request.map(|app, _| apps::CreateApp {
        name: app.name,
        slug: app.slug,
        description: app.description.unwrap_or_default(),
        variables: Variables {
            env: app.env.unwrap_or_default(),
            secret_env: app.secret_env.unwrap_or_default(),
        },
    });
    let apps = &app.services().apps;
    let create = |remember| apps.create(&access, input, remember);
    once.answer(&app, holding(&app, &access), created, create)
        .await
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
    let page = app.services().apps.list(&caller, page).await?;
    let apps = page.items.into_iter().map(AppView::from).collect();
    Ok(ListReply::new(
        "Apps retrieved successfully",
        apps,
        page.total,
    ))
}

/// Get App
#[utoipa::path(get, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_get",
    params(("app_slug" = String, Path, description = "App slug"), IfNoneMatch),
    responses((status = OK, body = Reply<AppView>), IfNoneMatch, ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(slug): Path<String>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let view = AppView::from(app.services().apps.get(&caller, &slug).await?);
    conditions.answer(&view, Reply::new("App retrieved successfully", &view))
}

/// New values for an app; what is absent stays, and a `description` that is `null` becomes empty.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateApp {
    #[serde(default, deserialize_with = "set")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// They replace the old ones, unless the body is a merge patch.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    env: Option<Option<BTreeMap<String, Option<String>>>>,
    /// They replace the old ones, unless the body is a merge patch. Secrets of the app hide the site's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    secret_env: Option<Option<BTreeMap<String, Option<String>>>>,
}

impl Updates for UpdateApp {
    const READ_ONLY: &'static [&'static str] =
        &["id", "slug", "created_at", "updated_at", "damaged"];
}

/// Update App
///
/// With other variables, functions that PRE events call are loaded first; if one does not load, nothing is changed.
/// Only who holds what the app's functions may do changes variables.
#[utoipa::path(patch, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_update",
    params(("app_slug" = String, Path, description = "App slug"), IfMatch),
    request_body = UpdateApp,
    responses((status = OK, body = Reply<AppView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    InApp(access): InApp<right::AppsManage>,
    Change {
        mut body,
        merges,
        target,
    }: Change<UpdateApp>,
) -> Result<Response, ApiError> {
    let before = access.app();
    target.check(&AppView::from(before.clone()), &mut body)?;
    let must_match = target.must_match();
    let input = body.map(|app, faults| apps::UpdateApp {
        name: app.name,
        description: app.description.map(Option::unwrap_or_default),
        env: variables("env", app.env, merges, faults),
        secret_env: variables("secret_env", app.secret_env, merges, faults),
        expected: must_match.then_some(before.updated_at),
    });
    let updated = app.services().apps.update(&access, input).await;
    let view = AppView::from(updated.map_err(|error| target.refused(error))?);
    tagged(&view, Reply::new("App updated successfully", &view))
}

/// Update App (the same as PATCH)
#[utoipa::path(put, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_replace",
    params(("app_slug" = String, Path, description = "App slug"), IfMatch),
    request_body = UpdateApp,
    responses((status = OK, body = Reply<AppView>), ApiError))]
pub(crate) async fn replace(
    state: State<AppState>,
    access: InApp<right::AppsManage>,
    change: Change<UpdateApp>,
) -> Result<Response, ApiError> {
    update(state, access, change).await
}

/// Delete App
#[utoipa::path(delete, path = "/api/apps/{app_slug}/", tag = "apps", operation_id = "apps_delete",
    params(("app_slug" = String, Path, description = "App slug"), IfMatch),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    InApp(access): InApp<right::AppsManage>,
    conditions: Conditions,
) -> Result<Reply<Nothing>, ApiError> {
    let before = access.app();
    conditions.check(&AppView::from(before.clone()))?;
    let expected = conditions.must_match().then_some(before.updated_at);
    let deleted = app.services().apps.delete(&access, expected).await;
    deleted.map_err(|error| conditions.refused(error))?;
    Ok(Reply::new("App deleted successfully", Nothing {}))
}
