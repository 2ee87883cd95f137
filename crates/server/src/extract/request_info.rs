//! What events are told of the request that causes them.

use super::caller::credential_kind;
use super::site::{ClientAddress, host_name};
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_LANGUAGE, HeaderName, USER_AGENT};
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;
use tollgate_core::request::RequestInfo;

/// The id that the answer will carry; set for every request before anything is looked for.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

/// What is known of a request from outside.
pub(crate) struct About(pub(crate) Arc<RequestInfo>);

impl FromRequestParts<AppState> for About {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Infallible> {
        let ClientAddress(ip) = ClientAddress::from_request_parts(parts, app).await?;
        let text = |name: HeaderName| {
            let value = parts.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        };
        let id = parts.extensions.get::<RequestId>();
        let id = id.and_then(|RequestId(id)| id.to_str().ok());
        Ok(Self(Arc::new(RequestInfo {
            ip: ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: text(USER_AGENT).map(|it| RequestInfo::cut_user_agent(&it)),
            request_id: id.unwrap_or_default().to_owned(),
            credential_kind: credential_kind(&parts.headers),
            host: RequestInfo::cut_host(host_name(parts)),
            languages: text(ACCEPT_LANGUAGE)
                .map(|it| RequestInfo::languages(&it))
                .unwrap_or_default(),
        })))
    }
}
