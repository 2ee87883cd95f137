//! What ran: invocation records and results.

use crate::envelope::ListReply;
use crate::error::ApiError;
use crate::extract::{Caller, Flag, PageQuery, Paging, Path, Query};
use crate::state::AppState;
use crate::views::{InvocationView, TaskResultView};
use crate::words;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_core::ids::{InvocationId, TaskId};
use tollgate_core::ports::store::InvocationQuery;
use tollgate_core::rights::Principal;
use tollgate_core::tasks::State as TaskState;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Which invocations to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InvocationFilter {
    /// Of this function.
    function_slug: Option<String>,
    /// Of functions of the app with this slug.
    app: Option<String>,
    /// Caused by this event type.
    #[param(schema_with = words::caused_by)]
    event: Option<String>,
    /// A status, or one of the finer states.
    #[param(schema_with = words::status_or_state)]
    status: Option<String>,
    /// With an error, or without.
    #[param(value_type = Option<bool>)]
    has_error: Option<Flag>,
}

impl InvocationFilter {
    async fn query(self, app: &AppState, caller: &Principal) -> Result<InvocationQuery, ApiError> {
        let event = match &self.event {
            Some(name) => Some(app.services().events.named(caller, name).await?.event),
            None => None,
        };
        let states = match self.status {
            Some(word) => states(&word)?,
            None => Vec::new(),
        };
        Ok(InvocationQuery {
            function_slug: self.function_slug,
            app_slug: self.app,
            event,
            states,
            has_error: self.has_error.map(|flag| flag.0),
            ..InvocationQuery::default()
        })
    }
}

fn states(word: &str) -> Result<Vec<TaskState>, ApiError> {
    let coarse = TaskState::with_status(&word.to_ascii_uppercase());
    match TaskState::from_text(&word.to_ascii_lowercase()) {
        Some(state) if coarse.is_empty() => Ok(vec![state]),
        // `PENDING` is both a coarse and a fine word, with the same meaning.
        _ if !coarse.is_empty() => Ok(coarse),
        _ => {
            let message = "Use PENDING, STARTED, RETRY, SUCCESS or FAILURE, or a state";
            Err(ApiError::invalid("status", message))
        }
    }
}

/// List Invocations
///
/// Newest first: all of them with the permission `invocations.read`, else one's own.
#[utoipa::path(get, path = "/api/invocations/", tag = "invocations",
    operation_id = "invocations_list", params(InvocationFilter, PageQuery),
    responses((status = OK, body = ListReply<InvocationView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Query(filter): Query<InvocationFilter>,
    Paging(page): Paging,
) -> Result<ListReply<InvocationView>, ApiError> {
    let query = filter.query(&app, &caller).await?;
    let page = app
        .services()
        .invocations
        .list(&caller, query, page)
        .await?;
    let invocations = page.items.into_iter().map(InvocationView::of).collect();
    Ok(ListReply::new(
        "Invocations retrieved successfully",
        invocations,
        page.total,
    ))
}

/// Get Invocation
#[utoipa::path(get, path = "/api/invocations/{id}/", tag = "invocations",
    operation_id = "invocations_get", params(("id" = i64, Path, description = "Its number")),
    responses((status = OK, body = InvocationView), ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
) -> Result<axum::Json<InvocationView>, ApiError> {
    let invocation = app
        .services()
        .invocations
        .get(&caller, InvocationId(id))
        .await?;
    Ok(axum::Json(InvocationView::full(invocation)))
}

/// What has become of a task.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskReply {
    success: bool,
    #[schema(schema_with = words::success)]
    status: &'static str,
    #[schema(value_type = String)]
    message: &'static str,
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    data: TaskResultView,
}

/// Get Task Result
#[utoipa::path(get, path = "/api/result/{task_id}/", tag = "invocations",
    operation_id = "result_get",
    params(("task_id" = String, Path, description = "The task's id")),
    responses((status = OK, body = TaskReply), ApiError))]
pub(crate) async fn result(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskReply>, ApiError> {
    // What is no task id is the id of no task.
    let id: Uuid = task_id.parse().map_err(|_| ApiError::not_found("Task"))?;
    let invocation = app
        .services()
        .invocations
        .by_task(&caller, TaskId(id))
        .await?;
    Ok(axum::Json(TaskReply {
        success: true,
        status: "success",
        message: "Task result retrieved successfully",
        task_id: invocation.task_id,
        data: invocation.into(),
    }))
}
