//! Which site a request is for, and where it came from.

use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::header::{HOST, HeaderName};
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tollgate_core::site::Site;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The site of the request's host name.
pub(crate) struct AtSite(pub(crate) Arc<Site>);

impl FromRequestParts<AppState> for AtSite {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let host = host_name(parts);
        Ok(Self(app.authenticate().site(host).await?))
    }
}

/// The host that was asked for; empty if none was named. An absolute request target wins over the header
/// (RFC 9112, section 3.2.2).
pub(super) fn host_name(parts: &Parts) -> &str {
    let header = || parts.headers.get(HOST)?.to_str().ok();
    parts.uri.host().or_else(header).unwrap_or_default()
}

/// The other end of the connection; set by the server for every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The client's address, where one is known.
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0);
        if !app.config().trust_forwarded_for {
            return Ok(Self(peer));
        }
        // The last entry is the one that the proxy in front of us wrote.
        let last = parts.headers.get_all(FORWARDED_FOR).iter().next_back();
        let last = last.and_then(|list| list.to_str().ok()?.rsplit(',').next());
        Ok(Self(
            last.and_then(|address| address.trim().parse().ok())
                .or(peer),
        ))
    }
}
