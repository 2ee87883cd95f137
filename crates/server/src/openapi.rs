//! Router and OpenAPI document, made from one list of routes.

use crate::api;
use crate::edge::{edge, guard};
use crate::error::{ApiError, Code, ErrorBody};
use crate::extract::{QueryNames, known};
use crate::state::AppState;
use crate::webhooks::webhooks;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Response,
    ResponseBuilder, Schema,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

/// The prefix under which users and tokens stand a second time.
const SECOND_PREFIX: &str = "/api/cloud/";

/// The OpenAPI document.
pub fn openapi() -> OpenApi {
    finished(api::documented().into_openapi())
}

/// The routes with everything around them.
pub(crate) fn router(state: AppState) -> Router {
    around(api::documented(), api::undocumented(), state)
}

/// The same without accounts, health and files: what another program takes in.
pub(crate) fn embedded(state: AppState) -> Router {
    around(api::of_the_engine(), Router::new(), state)
}

fn around(
    documented: OpenApiRouter<AppState>,
    undocumented: Router<AppState>,
    state: AppState,
) -> Router {
    let (documented, document) = documented.split_for_parts();
    let names = Arc::new(QueryNames::of(&document));
    let routes = documented
        .route_layer(from_fn_with_state(names, known))
        .merge(undocumented)
        .fallback(|| async { ApiError::not_found("Path") })
        .method_not_allowed_fallback(|| async {
            let message = "This path has no such method; see the Allow header";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, message)
        })
        .layer(from_fn_with_state(state.clone(), guard));
    let routes = match state.config().cors_origins.layer() {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes
        .layer(from_fn_with_state(state.clone(), edge))
        .with_state(state)
}

fn finished(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Tollgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Serverless functions that subscribe to lifecycle events. PRE events stop an \
             operation until every subscriber agrees; POST events run afterwards.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    for (name, scheme) in schemes() {
        components
            .security_schemes
            .insert(name.to_owned(), RefOr::T(scheme));
    }
    components
        .schemas
        .insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    let mut schemas = Vec::new();
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let_pass(&mut components.schemas);
    for (path, item) in &mut document.paths.paths {
        take_merge_patches(item);
        for operation in operations(item) {
            secure(operation);
            if path.starts_with(SECOND_PREFIX) {
                rename_second(operation);
            }
        }
    }
    document.webhooks = Some(webhooks());
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let operations = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    operations.into_iter().flatten()
}

/// Every operation says for itself which credentials it takes: each of ours, unless it names some or
/// says that it needs none.
fn secure(operation: &mut Operation) {
    let all = schemes().map(|(name, _)| SecurityRequirement::new::<_, [&str; 0], &str>(name, []));
    operation.security = Some(match operation.security.take() {
        None => all.into(),
        Some(own) => own.into_iter().filter(|it| all.contains(it)).collect(),
    });
}

/// A PATCH takes a merge patch as well (RFC 7396).
fn take_merge_patches(item: &mut PathItem) {
    let body = item.patch.as_mut().and_then(|it| it.request_body.as_mut());
    let Some(RefOr::T(body)) = body else { return };
    if let Some(content) = body.content.get("application/json").cloned() {
        let media_type = "application/merge-patch+json".to_owned();
        body.content.insert(media_type, content);
    }
}

/// What a GET shows can be sent back: values that nobody can change are let pass.
fn let_pass(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    for (name, read_only) in api::sent_back() {
        let Some(RefOr::T(Schema::Object(schema))) = schemas.get_mut(&*name) else {
            continue;
        };
        for field in read_only {
            let any = ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .read_only(true)
                .description(Some("Is let pass as long as it is what it was"));
            let any = RefOr::T(Schema::Object(any.build()));
            schema.properties.insert((*field).to_owned(), any);
        }
    }
}

/// An operation's id must be unique, and the second prefix repeats some.
fn rename_second(operation: &mut Operation) {
    const REPEATED: [&str; 3] = ["users_", "preferences_", "token_"];
    let is_repeated = |id: &String| REPEATED.iter().any(|start| id.starts_with(start));
    let repeated = operation.operation_id.as_mut().filter(|id| is_repeated(id));
    if let Some(id) = repeated {
        id.insert_str(0, "cloud_");
    }
}

fn schemes() -> [(&'static str, SecurityScheme); 3] {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    let api_key = ApiKeyValue::with_description("Authorization", "`Api-Key <key>`");
    let session = ApiKeyValue::new("X-Session-Token");
    [
        ("bearer", SecurityScheme::Http(bearer)),
        ("api_key", SecurityScheme::ApiKey(ApiKey::Header(api_key))),
        (
            "session_token",
            SecurityScheme::ApiKey(ApiKey::Header(session)),
        ),
    ]
}

impl IntoResponses for ApiError {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_response("default", "Any error")
    }
}

/// An error in the document.
pub(crate) fn error_response(status: &str, description: &str) -> BTreeMap<String, RefOr<Response>> {
    let schema = Ref::from_schema_name(ErrorBody::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build();
    BTreeMap::from([(status.to_owned(), RefOr::T(response))])
}
