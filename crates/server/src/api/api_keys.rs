//! API keys of the caller.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Caller, Creation, Json, Path};
use crate::once::{Once, holding};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tollgate_core::auth::{self, CreatedApiKey};
use tollgate_core::ids::ApiKeyId;
use tollgate_core::ports::store::ApiKey;
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// An API key as listed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyView {
    id: i64,
    name: String,
    /// The key's first characters.
    prefix: String,
    /// The key itself: in the answer to its creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// About when it was last used, to the hour.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl ApiKeyView {
    fn new(record: ApiKey, key: Option<String>) -> Self {
        Self {
            id: record.id.0,
            name: record.name,
            prefix: record.prefix,
            key,
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
            damaged: record.damaged,
        }
    }
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApiKey {
    name: String,
    /// When it ends; never unless set.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Create API Key
///
/// The key is shown in this answer and never again, so a repeated request with the same
/// `Idempotency-Key` makes no second key and is told so with 409.
#[utoipa::path(post, path = "/api/cloud/auth/api-keys/", tag = "sign-in",
    operation_id = "api_keys_create", params(Once), request_body = CreateApiKey,
    responses((status = CREATED, body = Reply<ApiKeyView>), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Creation(request, once): Creation<CreateApiKey>,
) -> Result<Response, ApiError> {
    let auth = &app.accounts()?.auth;
    let input =
        request.map(|CreateApiKey { name, expires_at }, _| auth::CreateApiKey { name, expires_at });
    let create = |remember| auth.create_api_key(&caller, input, remember);
    once.secret(&app, holding(&app, &caller), made_before, create, created)
        .await
}

fn created(created: CreatedApiKey) -> (StatusCode, Reply<ApiKeyView>) {
    let view = ApiKeyView::new(created.record, Some(created.key));
    Reply::new("API key created; it is not shown again", view).created()
}

/// What is kept of the answer: the secret itself is stored nowhere.
fn made_before(record: ApiKey) -> (StatusCode, ErrorBody) {
    ApiError::conflict(format!(
        "API key {} was created by this request already, and a key is shown once only; if its answer \
         was lost, delete it and create another with a new Idempotency-Key",
        record.id
    ))
    .into_parts()
}

/// List API Keys
#[utoipa::path(get, path = "/api/cloud/auth/api-keys/", tag = "sign-in",
    operation_id = "api_keys_list",
    responses((status = OK, body = ListReply<ApiKeyView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
) -> Result<ListReply<ApiKeyView>, ApiError> {
    let keys = app.accounts()?.auth.api_keys(&caller).await?;
    let keys = keys
        .into_iter()
        .map(|key| ApiKeyView::new(key, None))
        .collect();
    Ok(ListReply::all("API keys retrieved successfully", keys))
}

/// The key to be deleted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteApiKey {
    id: i64,
}

/// Delete API Key (named in the body)
#[utoipa::path(delete, path = "/api/cloud/auth/api-keys/", tag = "sign-in",
    operation_id = "api_keys_delete_named", request_body = DeleteApiKey,
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete_named(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Json(request): Json<DeleteApiKey>,
) -> Result<Reply<Nothing>, ApiError> {
    let DeleteApiKey { id } = request.whole()?;
    app.accounts()?
        .auth
        .delete_api_key(&caller, ApiKeyId(id))
        .await?;
    Ok(Reply::new("API key deleted successfully", Nothing {}))
}

/// Delete API Key
#[utoipa::path(delete, path = "/api/cloud/auth/api-keys/{id}/", tag = "sign-in",
    operation_id = "api_keys_delete", params(("id" = i64, Path, description = "Its number")),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
) -> Result<Reply<Nothing>, ApiError> {
    app.accounts()?
        .auth
        .delete_api_key(&caller, ApiKeyId(id))
        .await?;
    Ok(Reply::new("API key deleted successfully", Nothing {}))
}
