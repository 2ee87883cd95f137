//! Conditions of a request on what stands there (`If-Match`, `If-None-Match`), and the tags that they
//! name (RFC 9110, sections 8.8.3 and 13.1).
//!
//! A tag is made of what is shown, so it changes with it. That nothing changes between the look and the
//! write is the store's business: the write names the record that was looked at.

use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tollgate_core::error::Error;
use tollgate_core::ports::store::Conflict;
use tollgate_core::text::hex;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses};

/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// The conditions of a request.
pub(crate) struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

#[derive(Debug, PartialEq)]
enum Tags {
    Any,
    These(Vec<Tag>),
}

#[derive(Debug, PartialEq)]
struct Tag {
    weak: bool,
    value: String,
}

impl FromRequestParts<AppState> for Conditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Self::of(&parts.headers)
    }
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            matches: tags(headers, &IF_MATCH)?,
            none_matches: tags(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Whether there is an `If-Match`.
    pub(crate) fn must_match(&self) -> bool {
        self.matches.is_some()
    }

    /// Whether `If-Match` holds. Weak tags match nothing.
    ///
    /// # Errors
    /// 412.
    pub(crate) fn check<V: Serialize>(&self, view: &V) -> Result<(), ApiError> {
        let tag = tag(view)?;
        match &self.matches {
            None | Some(Tags::Any) => Ok(()),
            Some(Tags::These(tags)) if tags.iter().any(|it| !it.weak && it.value == tag) => Ok(()),
            Some(Tags::These(_)) => Err(ApiError::precondition_failed()),
        }
    }

    /// The answer to a write that did not happen: what was looked at may have changed meanwhile.
    pub(crate) fn refused(&self, error: Error) -> ApiError {
        match error {
            Error::Conflict(Conflict::Changed | Conflict::Gone) if self.must_match() => {
                ApiError::precondition_failed()
            }
            error => error.into(),
        }
    }

    /// The answer to a GET: nothing but the tag if the client has it already. `of` is what the tag is
    /// made of.
    pub(crate) fn answer<V: Serialize>(
        &self,
        of: &V,
        reply: impl IntoResponse,
    ) -> Result<Response, ApiError> {
        let tag = tag(of)?;
        let known = match &self.none_matches {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|it| it.value == tag),
        };
        let reply = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            reply.into_response()
        };
        Ok(with(reply, &tag))
    }
}

/// The answer to a write, with the tag of what stands there now. `of` is what the tag is made of.
pub(crate) fn tagged<V: Serialize>(of: &V, reply: impl IntoResponse) -> Result<Response, ApiError> {
    let tag = tag(of)?;
    Ok(with(reply.into_response(), &tag))
}

fn with(mut reply: Response, tag: &str) -> Response {
    // Hexadecimal digits and quotes are always allowed.
    if let Ok(tag) = HeaderValue::try_from(format!("\"{tag}\"")) {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

fn tag<V: Serialize>(view: &V) -> Result<String, ApiError> {
    let shown =
        serde_json::to_vec(view).map_err(|error| ApiError::internal(format!("a view: {error}")))?;
    Ok(hex(&Sha256::digest(&shown)[..TAG_BYTES]))
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, ApiError> {
    let mut all = Vec::new();
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let malformed = || {
        ApiError::bad_request(format!(
            "{name}: send '*', or tags in double quotes as the ETag header shows them"
        ))
    };
    for line in &lines {
        let line = line.to_str().map_err(|_| malformed())?.trim();
        if line == "*" && lines.len() == 1 {
            return Ok(Some(Tags::Any));
        }
        all.extend(list(line).ok_or_else(malformed)?);
    }
    if all.is_empty() {
        return Err(malformed());
    }
    Ok(Some(Tags::These(all)))
}

fn list(line: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (value, after) = quoted.strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        tags.push(Tag {
            weak,
            value: value.to_owned(),
        });
        rest = after;
    }
}

fn header(name: &str, description: &str) -> Vec<Parameter> {
    let header = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build();
    vec![header]
}

/// The header of a change that is made only to what its sender saw, for the document.
pub(crate) struct IfMatch;

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "ETags of which one must be what stands there, else 412; `*` for any";
        header("If-Match", description)
    }
}

/// The header of a GET whose sender has an answer already, for the document.
pub(crate) struct IfNoneMatch;

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        header(
            "If-None-Match",
            "ETags that the client has: 304 without a body if one is current",
        )
    }
}

impl IntoResponses for IfNoneMatch {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let response = ResponseBuilder::new().description("What the client has is current");
        let status = StatusCode::NOT_MODIFIED.as_str().to_owned();
        BTreeMap::from([(status, RefOr::T(response.build()))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read_and_others_refused() {
        let strong = |value: &str| Tag {
            weak: false,
            value: value.to_owned(),
        };
        assert_eq!(list("\"a\""), Some(vec![strong("a")]));
        let weak = Tag {
            weak: true,
            value: "b, c".to_owned(),
        };
        assert_eq!(
            list("\"a\" , W/\"b, c\",\"\""),
            Some(vec![strong("a"), weak, strong("")])
        );
        for wrong in ["a", "\"a", "\"a\" \"b\"", "w/\"a\"", "\"a\"x", "*, \"a\""] {
            assert_eq!(list(wrong), None, "{wrong}");
        }
    }
}
