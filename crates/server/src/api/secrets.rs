//! Secrets of the site, and of the app that the query names.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{
    Change, Conditions, Creation, Flag, IfMatch, IfNoneMatch, InTier, PageQuery, Paging, Path,
    Query, TierQuery, Updates, given, set, tagged,
};
use crate::once::{Once, holding};
use crate::state::AppState;
use crate::views::SecretView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tollgate_core::ports::store::Page;
use tollgate_core::rights::right;
use tollgate_core::secrets::{self, Secret, SecretQuery, SecretValue, Shown};
use utoipa::{IntoParams, ToSchema};

/// A secret to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateSecret {
    /// Letters, digits, `_`, `.` and `-`.
    key: String,
    /// Text or an object.
    #[schema(value_type = serde_json::Value)]
    value: SecretValue,
    description: Option<String>,
    /// What kind of thing it is, in your words.
    secret_type: Option<String>,
    tags: Option<Vec<String>>,
}

/// Create Secret
///
/// Its value is not in the answer.
#[utoipa::path(post, path = "/api/secrets/", tag = "secrets", operation_id = "secrets_create",
    params(TierQuery, Once), request_body = CreateSecret,
    responses((status = CREATED, body = Reply<SecretView>), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    InTier(access): InTier<right::SecretsManage>,
    Creation(request, once): Creation<CreateSecret>,
) -> Result<Response, ApiError> {
    let input = request.map(|secret, _| secrets::CreateSecret {
        key: secret.key,
        value: secret.value,
        description: secret.description.unwrap_or_default(),
        tags: secret.tags.unwrap_or_default(),
        secret_type: secret.secret_type.unwrap_or_default(),
    });
    let secrets = &app.services().secrets;
    let create = |remember| secrets.create(&access, input, remember);
    once.answer(&app, holding(&app, &access), created, create)
        .await
}

fn created(secret: Secret) -> (StatusCode, Reply<SecretView>) {
    Reply::new("Secret created successfully", secret.into()).created()
}

/// Which secrets to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SecretFilter {
    /// Keys with commas between, at most 50: these, with their values.
    keys: Option<String>,
    /// Part of the key.
    search: Option<String>,
    /// Tags with commas between: secrets that have all of them.
    tags: Option<String>,
    /// Secrets of this type.
    secret_type: Option<String>,
    /// Understood and without effect: everything known is always shown.
    #[param(value_type = Option<bool>)]
    include_metadata: Option<Flag>,
}

impl SecretFilter {
    /// From a function's arguments or a query string.
    pub(crate) fn query(self) -> SecretQuery {
        // Named so that the flag is checked and the compiler content.
        let _ = self.include_metadata.map(|flag| flag.0);
        SecretQuery {
            keys: words(self.keys.as_deref()),
            search: self.search.filter(|search| !search.is_empty()),
            tags: words(self.tags.as_deref()),
            secret_type: self.secret_type.filter(|it| !it.is_empty()),
        }
    }
}

/// The words of a list with commas between.
pub(crate) fn words(list: Option<&str>) -> Vec<String> {
    let words = list.unwrap_or_default().split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// List Secrets
///
/// The app's own, and those of the site that they do not hide. Without `keys` there are no values.
#[utoipa::path(get, path = "/api/secrets/", tag = "secrets", operation_id = "secrets_list",
    params(TierQuery, SecretFilter, PageQuery),
    responses((status = OK, body = ListReply<SecretView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    InTier(access): InTier<right::SecretsRead>,
    Query(filter): Query<SecretFilter>,
    Paging(page): Paging,
) -> Result<ListReply<SecretView>, ApiError> {
    let secrets = &app.services().secrets;
    let found = secrets.list(&access, &filter.query(), page).await?;
    Ok(listed(found))
}

/// The answer of a list.
pub(crate) fn listed(found: Page<Shown>) -> ListReply<SecretView> {
    let secrets = found.items.into_iter().map(SecretView::from).collect();
    ListReply::new("Secrets retrieved successfully", secrets, found.total)
}

/// Tags that a secret must have.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SecretTags {
    /// Tags with commas between: without one of them the secret is not found.
    tags: Option<String>,
}

/// Get Secret
///
/// With its value: the app's own, else the site's.
#[utoipa::path(get, path = "/api/secrets/{key}/", tag = "secrets", operation_id = "secrets_get",
    params(("key" = String, Path, description = "Key"), TierQuery, SecretTags, IfNoneMatch),
    responses((status = OK, body = Reply<SecretView>), IfNoneMatch, ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    InTier(access): InTier<right::SecretsRead>,
    Path(key): Path<String>,
    Query(filter): Query<SecretTags>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let tags = words(filter.tags.as_deref());
    let found = app.services().secrets.get(&access, &key, &tags).await?;
    // Each change moves its time, so that no tag need be made of its value.
    let of = SecretView::from(found.secret.clone());
    let reply = Reply::new("Secret retrieved successfully", SecretView::from(found));
    conditions.answer(&of, reply)
}

/// New values for a secret; what is left out stays, and what is `null` becomes empty, its value
/// excepted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateSecret {
    /// Text or an object.
    #[serde(default, deserialize_with = "set")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<SecretValue>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    secret_type: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Option<Option<Vec<String>>>,
}

impl Updates for UpdateSecret {
    const READ_ONLY: &'static [&'static str] =
        &["key", "app", "created_at", "updated_at", "damaged"];
}

/// Update Secret
///
/// The app's own or, without an app, the site's. Its value is not in the answer.
#[utoipa::path(put, path = "/api/secrets/{key}/", tag = "secrets", operation_id = "secrets_update",
    params(("key" = String, Path, description = "Key"), TierQuery, IfMatch),
    request_body = UpdateSecret,
    responses((status = OK, body = Reply<SecretView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    InTier(access): InTier<right::SecretsManage>,
    Path(key): Path<String>,
    Change {
        mut body,
        merges,
        target,
    }: Change<UpdateSecret>,
) -> Result<Response, ApiError> {
    let secrets = &app.services().secrets;
    let mut expected = None;
    if target.is_particular() {
        let secret = secrets.known(&access, &key).await?;
        expected = target.must_match().then_some(secret.updated_at);
        target.check(&SecretView::from(secret), &mut body)?;
    }
    let input = body.map(|secret, _| secrets::UpdateSecret {
        value: secret.value,
        merges,
        description: secret.description.map(Option::unwrap_or_default),
        tags: secret.tags.map(Option::unwrap_or_default),
        secret_type: secret.secret_type.map(Option::unwrap_or_default),
        expected,
    });
    let updated = secrets.update(&access, &key, input).await;
    let view = SecretView::from(updated.map_err(|error| target.refused(error))?);
    tagged(&view, Reply::new("Secret updated successfully", &view))
}

/// Update Secret (the same as PUT)
///
/// As a merge patch too: of the value, an object's members stay that are not named.
#[utoipa::path(patch, path = "/api/secrets/{key}/", tag = "secrets",
    operation_id = "secrets_change",
    params(("key" = String, Path, description = "Key"), TierQuery, IfMatch),
    request_body = UpdateSecret,
    responses((status = OK, body = Reply<SecretView>), ApiError))]
pub(crate) async fn change(
    state: State<AppState>,
    access: InTier<right::SecretsManage>,
    path: Path<String>,
    change: Change<UpdateSecret>,
) -> Result<Response, ApiError> {
    update(state, access, path, change).await
}

/// Delete Secret
#[utoipa::path(delete, path = "/api/secrets/{key}/", tag = "secrets",
    operation_id = "secrets_delete",
    params(("key" = String, Path, description = "Key"), TierQuery, IfMatch),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    InTier(access): InTier<right::SecretsManage>,
    Path(key): Path<String>,
    conditions: Conditions,
) -> Result<Reply<Nothing>, ApiError> {
    let secrets = &app.services().secrets;
    let mut expected = None;
    if conditions.must_match() {
        let secret = secrets.known(&access, &key).await?;
        expected = Some(secret.updated_at);
        conditions.check(&SecretView::from(secret))?;
    }
    let deleted = secrets.delete(&access, &key, expected).await;
    deleted.map_err(|error| conditions.refused(error))?;
    Ok(Reply::new("Secret deleted successfully", Nothing {}))
}
