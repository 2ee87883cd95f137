//! Event types that an app declares. There is no route to publish them: functions of the app do.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{
    Change, Conditions, Creation, IfMatch, IfNoneMatch, InApp, PageQuery, Paging, Path, Updates,
    given, set, tagged,
};
use crate::once::{Once, holding};
use crate::state::AppState;
use crate::views::EventTypeView;
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tollgate_core::event_types::{DeclareType, UpdateType};
use tollgate_core::events::own::OwnType;
use tollgate_core::json::JsonText;
use tollgate_core::rights::right;
use utoipa::ToSchema;

/// An event type to be declared.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateEventType {
    #[schema(schema_with = words::own_event)]
    name: String,
    /// When it is published, for people.
    description: Option<String>,
    /// JSON Schema (draft 2020-12) of its parameters, with `"type": "object"`. References lead to parts of it
    /// only (`#/$defs/…`), and in no circle.
    #[schema(value_type = Object)]
    params_schema: JsonText,
    /// Parameters that the schema accepts.
    #[schema(value_type = Object)]
    sample: JsonText,
}

/// Declare Event Type
///
/// Functions of the app publish it, with `sdk_client.events.publish`; any function of the site may subscribe.
#[utoipa::path(post, path = "/api/apps/{app_slug}/event-types/", tag = "events",
    operation_id = "event_types_create",
    params(("app_slug" = String, Path, description = "App slug"), Once),
    request_body = CreateEventType,
    responses((status = CREATED, body = Reply<EventTypeView>), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Creation(request, once): Creation<CreateEventType>,
) -> Result<Response, ApiError> {
    let input = request.map(|asked, _| DeclareType {
        name: asked.name,
        description: asked.description.unwrap_or_default(),
        params_schema: asked.params_schema,
        sample: asked.sample,
    });
    let types = &app.services().event_types;
    let create = |remember| types.create(&access, input, remember);
    once.answer(&app, holding(&app, &access), created, create)
        .await
}

fn created(own: OwnType) -> (StatusCode, Reply<EventTypeView>) {
    Reply::new("Event type declared successfully", own.into()).created()
}

/// List Event Types of an App
///
/// By name.
#[utoipa::path(get, path = "/api/apps/{app_slug}/event-types/", tag = "events",
    operation_id = "event_types_list",
    params(("app_slug" = String, Path, description = "App slug"), PageQuery),
    responses((status = OK, body = ListReply<EventTypeView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Paging(page): Paging,
) -> Result<ListReply<EventTypeView>, ApiError> {
    let page = app.services().event_types.list(&access, page).await?;
    let types = page.items.into_iter().map(EventTypeView::from).collect();
    Ok(ListReply::new(
        "Event types retrieved successfully",
        types,
        page.total,
    ))
}

/// Get Event Type
#[utoipa::path(get, path = "/api/apps/{app_slug}/event-types/{event_name}/", tag = "events",
    operation_id = "event_types_get",
    params(("app_slug" = String, Path, description = "App slug"), words::EventName, IfNoneMatch),
    responses((status = OK, body = Reply<EventTypeView>), IfNoneMatch, ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Path((_, name)): Path<(String, String)>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let own = app.services().event_types.get(&access, &name).await?;
    let of = EventTypeView::tagged(own.clone());
    let view = EventTypeView::from(own);
    conditions.answer(&of, Reply::new("Event type retrieved successfully", view))
}

/// New values for an event type; what is absent stays, and a `description` that is `null` becomes empty. Its
/// name never changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateEventType {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// JSON Schema (draft 2020-12) of its parameters. The sample must fit it.
    #[serde(default, deserialize_with = "set")]
    #[schema(value_type = Option<Object>)]
    params_schema: Option<JsonText>,
    /// Parameters that the schema accepts.
    #[serde(default, deserialize_with = "set")]
    #[schema(value_type = Option<Object>)]
    sample: Option<JsonText>,
}

impl Updates for UpdateEventType {
    const READ_ONLY: &'static [&'static str] = &[
        "name",
        "event",
        "phase",
        "app",
        "app_slug",
        "total_subscribers",
        "created_at",
        "updated_at",
        "damaged",
    ];
}

/// Change Event Type
///
/// As a merge patch too: members of schema and sample stay that are not named.
#[utoipa::path(patch, path = "/api/apps/{app_slug}/event-types/{event_name}/", tag = "events",
    operation_id = "event_types_update",
    params(("app_slug" = String, Path, description = "App slug"), words::EventName, IfMatch),
    request_body = UpdateEventType,
    responses((status = OK, body = Reply<EventTypeView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, name)): Path<(String, String)>,
    Change {
        mut body,
        merges,
        target,
    }: Change<UpdateEventType>,
) -> Result<Response, ApiError> {
    let types = &app.services().event_types;
    let mut expected = None;
    if target.is_particular() {
        let before = types.get(&access, &name).await?;
        expected = target.must_match().then_some(before.updated_at);
        target.check_both(
            &EventTypeView::tagged(before.clone()),
            &EventTypeView::from(before),
            &mut body,
        )?;
    }
    let input = body.map(|asked, _| UpdateType {
        description: asked.description.map(Option::unwrap_or_default),
        params_schema: asked.params_schema,
        sample: asked.sample,
        merges,
        expected,
    });
    let updated = types.update(&access, &name, input).await;
    let own = updated.map_err(|error| target.refused(error))?;
    let of = EventTypeView::tagged(own.clone());
    let view = EventTypeView::from(own);
    tagged(&of, Reply::new("Event type updated successfully", view))
}

/// Change Event Type (the same as PATCH)
#[utoipa::path(put, path = "/api/apps/{app_slug}/event-types/{event_name}/", tag = "events",
    operation_id = "event_types_replace",
    params(("app_slug" = String, Path, description = "App slug"), words::EventName, IfMatch),
    request_body = UpdateEventType,
    responses((status = OK, body = Reply<EventTypeView>), ApiError))]
pub(crate) async fn replace(
    state: State<AppState>,
    access: InApp<right::FunctionsDeploy>,
    path: Path<(String, String)>,
    change: Change<UpdateEventType>,
) -> Result<Response, ApiError> {
    update(state, access, path, change).await
}

/// Delete Event Type
///
/// While functions are subscribed to it, it stays.
#[utoipa::path(delete, path = "/api/apps/{app_slug}/event-types/{event_name}/", tag = "events",
    operation_id = "event_types_delete",
    params(("app_slug" = String, Path, description = "App slug"), words::EventName, IfMatch),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, name)): Path<(String, String)>,
    conditions: Conditions,
) -> Result<Reply<Nothing>, ApiError> {
    let types = &app.services().event_types;
    let mut expected = None;
    if conditions.must_match() {
        let before = types.get(&access, &name).await?;
        expected = Some(before.updated_at);
        conditions.check(&EventTypeView::tagged(before))?;
    }
    let deleted = types.delete(&access, &name, expected).await;
    deleted.map_err(|error| conditions.refused(error))?;
    Ok(Reply::new("Event type deleted successfully", Nothing {}))
}
