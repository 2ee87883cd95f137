//! Functions and their versions.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{
    Change, Conditions, Creation, Files, FunctionForm, IfMatch, IfNoneMatch, InApp, PageQuery,
    Paging, Path, Updates, WithFiles, given, set, tagged,
};
use crate::once::{Once, holding};
use crate::state::AppState;
use crate::views::{FunctionView, VersionEntryView, VersionView};
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tollgate_core::draft::Faults;
use tollgate_core::functions::{
    self, BundleDigest, Entrypoint, Environment, ExecutionMode, Function, FunctionOptions,
    HeadersChange, Network, RequestForm, RightsInput, Variables, VariablesChange,
};
use tollgate_core::limits;
use tollgate_core::rights::{ActsAs, AppAccess, GrantScope, right};
use tollgate_core::text::prefix;
use tollgate_core::time::Timestamp;
use tollgate_core::validation::FieldError;
use utoipa::ToSchema;

/// A function to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateFunction {
    name: String,
    /// Made of the name unless set.
    slug: Option<String>,
    description: Option<String>,
    /// `app` (unless set), `proxy` or `system`.
    #[schema(schema_with = words::execution_mode_or_null)]
    execution_mode: Option<ExecutionMode>,
    /// `python` (unless set) or `node`.
    #[schema(schema_with = words::environment_or_null)]
    environment: Option<Environment>,
    /// Of `app` functions: it defines `main`.
    code: Option<String>,
    /// Of app functions: module and function, `main:main` unless set.
    entrypoint: Option<String>,
    /// Of app functions of several files: what these are called. Files that come with this request need no name.
    #[schema(value_type = Option<String>)]
    bundle: Option<BundleDigest>,
    /// Of `proxy` functions.
    webhook_url: Option<String>,
    /// Of `proxy` functions.
    headers: Option<BTreeMap<String, String>>,
    /// True unless set.
    is_active: Option<bool>,
    is_public: Option<bool>,
    async_mode: Option<bool>,
    timeout_seconds: Option<f64>,
    memory_mb: Option<u32>,
    /// 64 unless set.
    max_concurrency: Option<u32>,
    /// How often it may be called, as `100/m`: a number, and `s`, `m`, `h` or `d`. Events are not calls.
    rate_limit: Option<String>,
    max_attempts: Option<u32>,
    /// `none` (unless set) or `egress`.
    #[schema(schema_with = words::network_or_null)]
    network: Option<Network>,
    filter_conditions: Option<String>,
    /// Of public functions: `json` (unless set), the `params` of the body; or `raw`, the request itself.
    #[schema(schema_with = words::request_form_or_null)]
    request: Option<RequestForm>,
    /// Of `app` functions: environment variables. They hide those of the app.
    env: Option<BTreeMap<String, String>>,
    /// Of `app` functions: environment variables that have the value of a secret of the app or the site, each with
    /// the secret's key. You must be able to read the app's secrets.
    secret_env: Option<BTreeMap<String, String>>,
    /// Names of the permission table: what it may ask of the platform. You must hold each of them.
    #[schema(schema_with = words::permissions)]
    permissions: Option<Vec<String>>,
    /// Where permissions of an app hold: `app` (unless set), its own, or `site`, every one.
    #[schema(schema_with = words::grant_scope_or_null)]
    permissions_scope: Option<GrantScope>,
    /// `caller` (unless set): whoever it acts for must hold them as well; or `function`: these alone
    /// count, also where nobody acts.
    #[schema(schema_with = words::acts_as_or_null)]
    acts_as: Option<ActsAs>,
}

impl From<CreateFunction> for functions::CreateFunction {
    fn from(request: CreateFunction) -> Self {
        Self {
            name: request.name,
            slug: request.slug,
            description: request.description.unwrap_or_default(),
            execution_mode: request.execution_mode.unwrap_or(ExecutionMode::App),
            environment: request.environment.unwrap_or(Environment::Python),
            code: request.code,
            entrypoint: request.entrypoint,
            bundle: request.bundle,
            webhook_url: request.webhook_url,
            headers: request.headers,
            is_active: request.is_active.unwrap_or(true),
            is_public: request.is_public.unwrap_or_default(),
            async_mode: request.async_mode.unwrap_or_default(),
            options: FunctionOptions {
                timeout_seconds: request.timeout_seconds,
                memory_mb: request.memory_mb,
                max_concurrency: request.max_concurrency,
                rate_limit: request.rate_limit,
                max_attempts: request.max_attempts,
                network: request.network.unwrap_or_default(),
                filter_conditions: request.filter_conditions,
                request: request.request.unwrap_or_default(),
                variables: Variables {
                    env: request.env.unwrap_or_default(),
                    secret_env: request.secret_env.unwrap_or_default(),
                },
            },
            rights: RightsInput {
                permissions: request.permissions,
                scope: request.permissions_scope,
                acts_as: request.acts_as,
            },
        }
    }
}

/// Create Function
///
/// Files beside the code come as `multipart/form-data`: the part `function` is the JSON, and either the part `bundle` is
/// a tar archive, compressed with gzip or not, or each part `files` is one file, with its path as its file name. An
/// archive alone may come as `application/gzip` where nothing else is said.
///
/// The answer shows a proxy function's `webhook_secret`, and none after it does: a repeated request
/// with the same `Idempotency-Key` is answered without it.
#[utoipa::path(post, path = "/api/apps/{app_slug}/functions/", tag = "functions",
    operation_id = "functions_create",
    params(("app_slug" = String, Path, description = "App slug"), Once),
    request_body(content((CreateFunction = "application/json"), (FunctionForm = "multipart/form-data"))),
    responses((status = CREATED, body = FunctionView), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    WithFiles(files, Creation(request, once)): WithFiles<Creation<CreateFunction>>,
) -> Result<Response, ApiError> {
    let functions = &app.services().functions;
    keep(&app, &access, files).await?;
    let input = request.map(|function, _| function.into());
    let create = |remember| functions.create(&access, input, remember);
    let asker = holding(&app, &access);
    once.secret(&app, asker, kept, create, created).await
}

/// Stores the files that came with a request, before a version names them.
async fn keep(
    app: &AppState,
    access: &AppAccess<right::FunctionsDeploy>,
    files: Option<Files>,
) -> Result<(), ApiError> {
    let Some(Files { packed, .. }) = files else {
        return Ok(());
    };
    Ok(app.services().functions.keep_bundle(access, packed).await?)
}

fn created(created: functions::CreatedFunction) -> (StatusCode, axum::Json<FunctionView>) {
    let view = FunctionView::from(created.function).with_secret(created.webhook_secret);
    (StatusCode::CREATED, axum::Json(view))
}

/// What is kept of the answer: never the secret.
fn kept(function: Function) -> (StatusCode, FunctionView) {
    (StatusCode::CREATED, function.into())
}

/// List Functions
#[utoipa::path(get, path = "/api/apps/{app_slug}/functions/", tag = "functions",
    operation_id = "functions_list",
    params(("app_slug" = String, Path, description = "App slug"), PageQuery),
    responses((status = OK, body = ListReply<FunctionView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Paging(page): Paging,
) -> Result<ListReply<FunctionView>, ApiError> {
    let page = app.services().functions.list(&access, page).await?;
    let functions = page.items.into_iter().map(FunctionView::from).collect();
    Ok(ListReply::new(
        "Functions retrieved successfully",
        functions,
        page.total,
    ))
}

/// Get Function
#[utoipa::path(get, path = "/api/apps/{app_slug}/functions/{slug}/", tag = "functions",
    operation_id = "functions_get",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), IfNoneMatch),
    responses((status = OK, body = FunctionView), IfNoneMatch, ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Path((_, slug)): Path<(String, String)>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let (function, source, webhook) = app.services().functions.get(&access, &slug).await?;
    // What it runs is told by its version; how its webhook does is no part of it.
    let of = FunctionView::from(function.clone());
    let view = FunctionView::with_source(function, source).with_webhook(webhook);
    conditions.answer(&of, axum::Json(view))
}

/// New values for a function; what is absent stays, and what is `null` is unset where that means
/// something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateFunction {
    #[serde(default, deserialize_with = "set")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "set")]
    code: Option<String>,
    /// Module and function; null means `main:main`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    entrypoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "set")]
    #[schema(value_type = Option<String>)]
    bundle: Option<BundleDigest>,
    #[serde(default, deserialize_with = "set")]
    webhook_url: Option<String>,
    /// They replace the old ones, unless the body is a merge patch.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Option<Option<BTreeMap<String, Option<String>>>>,
    #[serde(default, deserialize_with = "set")]
    is_active: Option<bool>,
    #[serde(default, deserialize_with = "set")]
    is_public: Option<bool>,
    #[serde(default, deserialize_with = "set")]
    async_mode: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>)]
    timeout_seconds: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    memory_mb: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    rate_limit: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_attempts: Option<Option<u32>>,
    /// `none` when it is `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::network_or_null)]
    network: Option<Option<Network>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    filter_conditions: Option<Option<String>>,
    /// `json` when it is `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::request_form_or_null)]
    request: Option<Option<RequestForm>>,
    /// They replace the old ones, unless the body is a merge patch.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    env: Option<Option<BTreeMap<String, Option<String>>>>,
    /// They replace the old ones, unless the body is a merge patch.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    secret_env: Option<Option<BTreeMap<String, Option<String>>>>,
    /// All that it may ask of the platform; an empty list takes everything away, and so does `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::permissions_or_null)]
    permissions: Option<Option<Vec<String>>>,
    /// `app` or `site`; `app` when it is `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::grant_scope_or_null)]
    permissions_scope: Option<Option<GrantScope>>,
    /// `caller` or `function`; `caller` when it is `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::acts_as_or_null)]
    acts_as: Option<Option<ActsAs>>,
}

impl Updates for UpdateFunction {
    const READ_ONLY: &'static [&'static str] = &[
        "id",
        "slug",
        "environment",
        "execution_mode",
        "app",
        "app_name",
        "app_slug",
        "version",
        "files",
        "created_at",
        "updated_at",
        "damaged",
        "webhook_state",
        "permissions_granted_by",
        "permissions_granted_at",
    ];
}

/// A change of environment variables; a variable that is null is removed by a merge patch.
pub(super) fn variables(
    kind: &'static str,
    given: Option<Option<BTreeMap<String, Option<String>>>>,
    merges: bool,
    faults: &mut Faults,
) -> Option<VariablesChange> {
    let given = given?;
    let change = VariablesChange {
        // Variables that are null as a whole are no variables.
        merges: merges && given.is_some(),
        values: given.unwrap_or_default(),
    };
    let nulls = change
        .values
        .iter()
        .filter(|(_, value)| !merges && value.is_none());
    for (name, _) in nulls {
        let field = format!("{kind}.{}", prefix(name, limits::NAME_CHARS));
        faults.add(FieldError::new(field, "This field may not be null"));
    }
    Some(change)
}

impl UpdateFunction {
    fn input(self, merges: bool, faults: &mut Faults) -> functions::UpdateFunction {
        let headers = self.headers.map(|values| HeadersChange {
            // Headers that are null as a whole are no headers.
            merges: merges && values.is_some(),
            values: values.unwrap_or_default(),
        });
        let values = headers.iter().filter(|_| !merges).flat_map(|it| &it.values);
        for (name, _) in values.filter(|(_, value)| value.is_none()) {
            let field = format!("headers.{}", prefix(name, limits::NAME_CHARS));
            faults.add(FieldError::new(field, "This field may not be null"));
        }
        let env = variables("env", self.env, merges, faults);
        let secret_env = variables("secret_env", self.secret_env, merges, faults);
        functions::UpdateFunction {
            env,
            secret_env,
            request: self.request.map(Option::unwrap_or_default),
            name: self.name,
            description: self.description.map(Option::unwrap_or_default),
            code: self.code,
            entrypoint: self
                .entrypoint
                .map(|it| it.unwrap_or_else(|| Entrypoint::default().to_string())),
            bundle: self.bundle,
            webhook_url: self.webhook_url,
            headers,
            is_active: self.is_active,
            is_public: self.is_public,
            async_mode: self.async_mode,
            timeout_seconds: self.timeout_seconds,
            memory_mb: self.memory_mb,
            max_concurrency: self.max_concurrency,
            rate_limit: self.rate_limit,
            max_attempts: self.max_attempts,
            network: self.network.map(Option::unwrap_or_default),
            filter_conditions: self.filter_conditions,
            rights: RightsInput {
                permissions: self.permissions.map(Option::unwrap_or_default),
                scope: self.permissions_scope.map(Option::unwrap_or_default),
                acts_as: self.acts_as.map(Option::unwrap_or_default),
            },
            expected: None,
        }
    }
}

/// Update Function
///
/// A change of code, address or headers is a new version, which becomes the active one once a worker
/// has loaded it. Code that does not load is refused, and the function is as it was.
///
/// Of a function with `permissions`, only who holds them changes what runs: code, address, headers,
/// name, network, public reach, what it may do.
#[utoipa::path(patch, path = "/api/apps/{app_slug}/functions/{slug}/", tag = "functions",
    operation_id = "functions_update",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), IfMatch),
    request_body(content((UpdateFunction = "application/json"), (FunctionForm = "multipart/form-data"))),
    responses((status = OK, body = FunctionView), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, slug)): Path<(String, String)>,
    WithFiles(files, change): WithFiles<Change<UpdateFunction>>,
) -> Result<Response, ApiError> {
    let Change {
        mut body,
        merges,
        target,
    } = change;
    let functions = &app.services().functions;
    keep(&app, &access, files).await?;
    let mut expected = None;
    if target.is_particular() {
        let function = functions.deployed(&access, &slug).await?;
        expected = target.must_match().then_some(function.updated_at);
        target.check(&FunctionView::from(function), &mut body)?;
    }
    let input = body.map(|function, faults| functions::UpdateFunction {
        expected,
        ..function.input(merges, faults)
    });
    let updated = functions.update(&access, &slug, input).await;
    let view = FunctionView::from(updated.map_err(|error| target.refused(error))?);
    tagged(&view, axum::Json(&view))
}

/// Update Function (the same as PATCH)
#[utoipa::path(put, path = "/api/apps/{app_slug}/functions/{slug}/", tag = "functions",
    operation_id = "functions_replace",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), IfMatch),
    request_body(content((UpdateFunction = "application/json"), (FunctionForm = "multipart/form-data"))),
    responses((status = OK, body = FunctionView), ApiError))]
pub(crate) async fn replace(
    state: State<AppState>,
    access: InApp<right::FunctionsDeploy>,
    path: Path<(String, String)>,
    change: WithFiles<Change<UpdateFunction>>,
) -> Result<Response, ApiError> {
    update(state, access, path, change).await
}

/// Delete Function
#[utoipa::path(delete, path = "/api/apps/{app_slug}/functions/{slug}/", tag = "functions",
    operation_id = "functions_delete",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), IfMatch),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, slug)): Path<(String, String)>,
    conditions: Conditions,
) -> Result<Reply<Nothing>, ApiError> {
    let functions = &app.services().functions;
    let mut expected = None;
    if conditions.must_match() {
        let function = functions.deployed(&access, &slug).await?;
        expected = Some(function.updated_at);
        conditions.check(&FunctionView::from(function))?;
    }
    let deleted = functions.delete(&access, &slug, expected).await;
    deleted.map_err(|error| conditions.refused(error))?;
    Ok(Reply::new("Function deleted successfully", Nothing {}))
}

/// A proxy function's new signing secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewSecret {
    /// It is shown in this answer only.
    webhook_secret: String,
    /// Until when deliveries carry a signature of the secret before it as well.
    #[schema(value_type = String, format = DateTime)]
    previous_until: Timestamp,
}

/// Rotate a Webhook's Secret
///
/// Gives a proxy function a new signing secret. For a day its deliveries carry two signatures, so
/// that the receiver can change over.
#[utoipa::path(post, path = "/api/apps/{app_slug}/functions/{slug}/rotate-secret/",
    tag = "functions", operation_id = "functions_rotate_secret",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug")),
    responses((status = OK, body = Reply<NewSecret>), ApiError))]
pub(crate) async fn rotate_secret(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, slug)): Path<(String, String)>,
) -> Result<Reply<NewSecret>, ApiError> {
    let functions = &app.services().functions;
    let rotated = functions.rotate_secret(&access, &slug).await?;
    let secret = NewSecret {
        webhook_secret: rotated.webhook_secret.to_string(),
        previous_until: rotated.previous_until,
    };
    Ok(Reply::new("Secret rotated; it is not shown again", secret))
}

/// List Function Versions
///
/// Newest first, without their code.
#[utoipa::path(get, path = "/api/apps/{app_slug}/functions/{slug}/versions/", tag = "functions",
    operation_id = "functions_versions",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"), PageQuery),
    responses((status = OK, body = ListReply<VersionEntryView>), ApiError))]
pub(crate) async fn versions(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Path((_, slug)): Path<(String, String)>,
    Paging(page): Paging,
) -> Result<ListReply<VersionEntryView>, ApiError> {
    let functions = &app.services().functions;
    let page = functions.versions(&access, &slug, page).await?;
    let versions = page.items.into_iter().map(VersionEntryView::from).collect();
    Ok(ListReply::new(
        "Versions retrieved successfully",
        versions,
        page.total,
    ))
}

/// Get Function Version
///
/// With its code, or its address.
#[utoipa::path(get, path = "/api/apps/{app_slug}/functions/{slug}/versions/{version}/",
    tag = "functions", operation_id = "functions_version",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"),
        ("version" = u32, Path, description = "The version's number")),
    responses((status = OK, body = Reply<VersionView>), ApiError))]
pub(crate) async fn version(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsRead>,
    Path((_, slug, number)): Path<(String, String, u32)>,
) -> Result<Reply<VersionView>, ApiError> {
    let functions = &app.services().functions;
    let version = functions.version(&access, &slug, number).await?;
    Ok(Reply::new("Version retrieved successfully", version.into()))
}

/// Activate a Function Version
///
/// Of a function with `permissions`, only who holds them does so.
#[utoipa::path(post, path = "/api/apps/{app_slug}/functions/{slug}/versions/{version}/activate/",
    tag = "functions", operation_id = "functions_activate",
    params(("app_slug" = String, Path, description = "App slug"),
        ("slug" = String, Path, description = "Function slug"),
        ("version" = u32, Path, description = "The version's number")),
    responses((status = OK, body = FunctionView), ApiError))]
pub(crate) async fn activate(
    State(app): State<AppState>,
    InApp(access): InApp<right::FunctionsDeploy>,
    Path((_, slug, version)): Path<(String, String, u32)>,
) -> Result<axum::Json<FunctionView>, ApiError> {
    let function = app
        .services()
        .functions
        .activate(&access, &slug, version)
        .await?;
    Ok(axum::Json(function.into()))
}
