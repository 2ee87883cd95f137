//! Query parameters: each by its type, and none that the route does not have.
//!
//! Which ones a route has, the OpenAPI document says: it is made of the same types that read them.

use crate::error::ApiError;
use crate::reading::{self, unknown};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use tollgate_core::text::prefix;
use tollgate_core::validation::FieldError;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, PathItem, RefOr};

/// Query parameters. What other extractors of the route read is passed over.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        of(&parts.uri).map(Self)
    }
}

/// The query of an address.
///
/// # Errors
/// 400 with every fault.
pub(super) fn of<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    reading::query(&pairs(uri)).map_err(ApiError::faults)
}

pub(crate) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .into_owned()
        .collect()
}

/// What the paths of public functions begin with.
const PUBLIC: &str = "/api/public/";

/// The query parameters of every route.
pub(crate) struct QueryNames(HashMap<(Method, String), Vec<String>>);

impl QueryNames {
    /// From the document. Probes of load balancers may carry what they like.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let mut names = HashMap::new();
        for (path, item) in &document.paths.paths {
            if path.starts_with("/healthz") || path.starts_with("/readyz") {
                continue;
            }
            for (method, operation) in operations(item) {
                names.insert((method, path.clone()), of_operation(operation));
            }
        }
        Self(names)
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        if request.uri().query().is_none_or(str::is_empty) {
            return Ok(());
        }
        let path = request.extensions().get::<MatchedPath>();
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        // What a public function is asked is its own business, and that of its handler.
        let path = path.filter(|path| !path.as_str().starts_with(PUBLIC));
        let known = path.and_then(|path| self.0.get(&(method, path.as_str().to_owned())));
        let Some(known) = known else { return Ok(()) };
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        only(request.uri(), &words)
    }
}

/// Refuses every query parameter.
pub(crate) fn no_query(uri: &Uri) -> Result<(), ApiError> {
    only(uri, &[])
}

/// Refuses query parameters other than these.
fn only(uri: &Uri, words: &[&str]) -> Result<(), ApiError> {
    let mut faults: Vec<FieldError> = Vec::new();
    for (name, _) in pairs(uri) {
        let shown = prefix(&name, 100).to_owned();
        if !words.contains(&name.as_str()) && faults.iter().all(|it| it.field != shown) {
            let message = unknown("query parameter", &name, words);
            faults.push(FieldError::new(shown, message));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ApiError::faults(faults))
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let operations = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    operations
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn of_operation(operation: &Operation) -> Vec<String> {
    let all = operation.parameters.iter().flatten();
    let of_queries = all.filter_map(|it| match it {
        RefOr::T(it) if it.parameter_in == ParameterIn::Query => Some(it.name.clone()),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    of_queries.collect()
}

/// Refuses a request with a query parameter that its route does not have: passed over, a slip such as
/// `?is_activ=false` would answer something else than was asked.
pub(crate) async fn known(
    State(names): State<Arc<QueryNames>>,
    request: Request,
    next: Next,
) -> Response {
    match names.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
