//! Executing functions, and repeating what they did.

use crate::error::ApiError;
use crate::extract::{Caller, Creation, InApp, Path};
use crate::once::{Asker, Once, holding};
use crate::state::AppState;
use crate::views::InvocationView;
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollgate_core::draft::Draft;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{Call, Executed, Invocation, VersionChoice};
use tollgate_core::json::JsonText;
use tollgate_core::rights::right;
use tollgate_core::validation::FieldError;
use utoipa::ToSchema;

/// A call of a function.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execute {
    /// What the function is given: an object.
    #[schema(value_type = Option<Object>)]
    params: Option<Box<RawValue>>,
    /// True queues the run, false waits for it; the function's own mode unless set.
    #[serde(rename = "async")]
    queued: Option<bool>,
}

impl Execute {
    /// Parameters, and whether the run is queued.
    pub(super) fn checked(draft: Draft<Self>) -> Result<(JsonText, Option<bool>), ApiError> {
        let given = draft.look().params.as_deref().map(RawValue::get);
        let is_object = given.is_none_or(|it| it.starts_with('{') || it == "null");
        let fault = (!is_object).then(|| FieldError::new("params", "Use an object"));
        let Self { params, queued } = draft.checked(fault.into_iter().collect())?;
        let params = params.filter(|it| it.get() != "null").map(JsonText::from);
        let params = params.unwrap_or_else(|| JsonText::from(&serde_json::json!({})));
        Ok((params, queued))
    }
}

/// What a call came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExecuteReply {
    success: bool,
    #[schema(schema_with = words::success)]
    status: &'static str,
    #[schema(value_type = String)]
    message: &'static str,
    /// What `main` returned; an empty list for nothing, and for a queued run.
    #[schema(schema_with = words::returned)]
    data: JsonText,
    invocation: InvocationView,
    queued: bool,
}

/// Execute Function
#[utoipa::path(post, path = "/api/apps/{app_slug}/functions/{slug}/execute/", tag = "functions",
    operation_id = "functions_execute",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), Once),
    request_body = Execute,
    responses((status = OK, description = "The function has run", body = ExecuteReply),
        (status = ACCEPTED, description = "The run is queued", body = ExecuteReply),
        Once, ApiError))]
pub(crate) async fn execute(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsExecute>,
    Path((_, slug)): Path<(String, String)>,
    Creation(request, once): Creation<Execute>,
) -> Result<Response, ApiError> {
    let (params, queued) = Execute::checked(request)?;
    let invocations = &app.services().invocations;
    let execute = |remember| {
        let call = Call {
            params,
            queued,
            remember,
            may_answer: false,
        };
        invocations.execute(&access, &slug, call)
    };
    once.answer(&app, holding(&app, &access), reply, execute)
        .await
}

/// Which version of a function runs again.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Version {
    /// The one that is active now.
    #[default]
    Active,
    /// The one that ran before.
    Own,
}

impl From<Version> for VersionChoice {
    fn from(version: Version) -> Self {
        match version {
            Version::Active => Self::Active,
            Version::Own => Self::Own,
        }
    }
}

/// A repeat of an earlier run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// `active` unless set.
    version: Option<Version>,
    /// True queues the run, false waits for it; the function's own mode unless set.
    #[serde(rename = "async")]
    queued: Option<bool>,
}

/// Replay Invocation
///
/// A new run with the same parameters, event and event id, which acts for the caller; `user_id` stays who
/// caused the first one. Needs `functions.execute` in the function's app. A replayed PRE function decides and changes nothing:
/// what it returns is only put on record.
#[utoipa::path(post, path = "/api/invocations/{id}/replay/", tag = "invocations",
    operation_id = "invocations_replay",
    params(("id" = i64, Path, description = "The run to repeat"), Once),
    request_body = Replay,
    responses((status = OK, description = "The function has run", body = ExecuteReply),
        (status = ACCEPTED, description = "The run is queued", body = ExecuteReply),
        Once, ApiError))]
pub(crate) async fn replay(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
    Creation(request, once): Creation<Replay>,
) -> Result<Response, ApiError> {
    let Replay { version, queued } = request.whole()?;
    let choice = version.unwrap_or_default().into();
    let invocations = &app.services().invocations;
    let replay = |remember| invocations.replay(&caller, InvocationId(id), choice, queued, remember);
    let may = async {
        let now = app.services().still(&caller).await?;
        invocations.may_replay(&now, InvocationId(id)).await
    };
    once.answer(&app, Asker::who(&caller, may), reply, replay)
        .await
}

fn reply(executed: Executed) -> (StatusCode, ExecuteReply) {
    let Executed { invocation, queued } = executed;
    let data = returned(&invocation, queued);
    let (status, message) = if queued {
        (StatusCode::ACCEPTED, "Function execution started")
    } else {
        (StatusCode::OK, "Function executed successfully")
    };
    let reply = ExecuteReply {
        success: true,
        status: "success",
        message,
        data,
        invocation: InvocationView::full(invocation),
        queued,
    };
    (status, reply)
}

/// What `main` returned; an empty list for nothing, and for a queued run.
pub(super) fn returned(invocation: &Invocation, queued: bool) -> JsonText {
    let result = invocation.result.clone();
    let result = result.filter(|result| !queued && result.as_str() != "null");
    result.unwrap_or_else(|| JsonText::from(&serde_json::json!([])))
}
