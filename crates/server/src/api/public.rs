//! Executing public functions: for anybody, so that an answer tells what the function returned and
//! nothing of how it ran.
//!
//! Must never show a record, a function's own error text, or one caller's answer to another.

use super::raw;
use super::run::{Execute, returned};
use crate::error::{ApiError, Code};
use crate::extract::{About, AtSite, Creation, Path, no_query};
use crate::state::AppState;
use crate::words;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tollgate_core::error::Error;
use tollgate_core::functions::RequestForm;
use tollgate_core::ids::TaskId;
use tollgate_core::invocations::{Call, Executed, Invocation};
use tollgate_core::json::JsonText;
use tollgate_core::tasks::FailureKind;
use utoipa::ToSchema;

/// What a public call came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct PublicReply {
    success: bool,
    #[schema(schema_with = words::success)]
    status: &'static str,
    #[schema(value_type = String)]
    message: &'static str,
    /// What `main` returned; an empty list for nothing, and for a queued run.
    #[schema(value_type = Object)]
    data: JsonText,
    /// Of a queued run: what to name when asking whoever runs the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    task_id: Option<TaskId>,
}

/// Execute Public Function
///
/// Needs no credential; only active functions with `is_public` exist here. The answer has `data`, or
/// `code`, `message` and `task_id`: logs, errors and the rest of the record are for those who may read
/// invocations. An `Idempotency-Key` is refused, because nobody could tell whose it is.
///
/// A function with `request: "raw"` is given any body, with the request's method, path, query and headers, and may give
/// the HTTP answer itself. Credentials are not passed on, and an `Idempotency-Key` is a header like others.
#[utoipa::path(post, path = "/api/public/apps/{app_slug}/functions/{slug}/execute/",
    tag = "functions", operation_id = "functions_execute_public", security(()),
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug")),
    request_body = Execute,
    responses((status = OK, description = "The function has run", body = PublicReply),
        (status = ACCEPTED, description = "The run is queued", body = PublicReply), ApiError))]
pub(crate) async fn execute_public(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    About(about): About,
    Path((app_slug, slug)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (invocations, names) = (&app.services().invocations, (&*app_slug, &*slug));
    if invocations.public_form(site.id, names).await? == Some(RequestForm::Raw) {
        return raw::execute(&app, site.id, names, about, request).await;
    }
    no_query(request.uri())?;
    let Creation(request, once) = Creation::<Execute>::from_request(request, &app).await?;
    if once.0.is_some() {
        return Err(ApiError::bad_request(
            "Idempotency-Key needs a credential: without one nobody can tell whose key it is. Leave \
             it out, and put an id of your own into params, by which the function knows a repeat",
        ));
    }
    let (params, queued) = Execute::checked(request)?;
    let call = Call {
        params,
        queued,
        remember: None,
        may_answer: false,
    };
    let executed = invocations.execute_public(site.id, names, call, Some(about));
    let executed = executed.await.map_err(told)?;
    Ok(PublicReply::of(&executed).into_response())
}

impl PublicReply {
    /// What is shown of a run, with its status.
    pub(super) fn of(executed: &Executed) -> (StatusCode, axum::Json<Self>) {
        let Executed { invocation, queued } = executed;
        let (status, message) = match queued {
            true => (StatusCode::ACCEPTED, "Function execution started"),
            false => (StatusCode::OK, "Function executed successfully"),
        };
        let reply = Self {
            success: true,
            status: "success",
            message,
            data: returned(invocation, *queued),
            task_id: queued.then_some(invocation.task_id),
        };
        (status, axum::Json(reply))
    }
}

/// A method that only raw functions have.
macro_rules! raw_only {
    ($method:ident, $name:ident, $id:literal, $summary:literal) => {
        #[doc = $summary]
        ///
        /// Needs no credential; only active functions with `is_public` and `request: "raw"` have this method. The answer
        /// is the function's own, or as that to `POST`.
        #[utoipa::path($method, path = "/api/public/apps/{app_slug}/functions/{slug}/execute/",
            tag = "functions", operation_id = $id, security(()),
            params(("app_slug" = String, Path, description = "App slug"),
                ("slug" = String, Path, description = "Function slug")),
            responses((status = OK, description = "The function has run", body = PublicReply),
                (status = ACCEPTED, description = "The run is queued", body = PublicReply), ApiError))]
        pub(crate) async fn $name(
            State(app): State<AppState>,
            AtSite(site): AtSite,
            About(about): About,
            Path((app_slug, slug)): Path<(String, String)>,
            request: Request,
        ) -> Result<Response, ApiError> {
            let names = (&*app_slug, &*slug);
            let form = app.services().invocations.public_form(site.id, names);
            match form.await? {
                Some(RequestForm::Raw) => raw::execute(&app, site.id, names, about, request).await,
                Some(RequestForm::Json) | None => Err(raw::no_such_method()),
            }
        }
    };
}

raw_only!(
    get,
    get_public,
    "functions_execute_public_get",
    "Execute Public Function (GET)"
);
raw_only!(
    put,
    put_public,
    "functions_execute_public_put",
    "Execute Public Function (PUT)"
);
raw_only!(
    patch,
    patch_public,
    "functions_execute_public_patch",
    "Execute Public Function (PATCH)"
);
raw_only!(
    delete,
    delete_public,
    "functions_execute_public_delete",
    "Execute Public Function (DELETE)"
);

/// What a stranger is told of an error.
pub(super) fn told(error: Error) -> ApiError {
    match error {
        Error::FunctionFailed(invocation) => {
            let message = failed(&invocation);
            ApiError::new(StatusCode::BAD_REQUEST, Code::FunctionFailed, message)
                .task(invocation.task_id)
        }
        // Its reason is the operator's.
        Error::Unavailable(_) => {
            Error::Unavailable("The function cannot run at the moment; try again later".to_owned())
                .into()
        }
        error => error.into(),
    }
}

/// What a function says when it fails is for those who mend it.
fn failed(invocation: &Invocation) -> &'static str {
    match invocation.failure.as_ref().map(|failure| failure.kind) {
        Some(FailureKind::Timeout) => "The function did not end in time",
        Some(FailureKind::Limit) => "The function reached a limit",
        _ => "The function failed",
    }
}
