//! What handlers take as arguments: the parts of a request, checked.
//!
//! Authorization happens here: a handler that takes [`Can`], [`InApp`] or [`InTier`] cannot be reached without
//! the right. Rejections are [`ApiError`]s, never axum's plain text.

mod caller;
mod creation;
mod json;
mod page;
mod site;

pub(crate) use caller::{Caller, Can, InApp, InTier, StayingCaller, TierQuery, session_token};
pub(crate) use creation::Creation;
pub(crate) use json::{Json, given};
pub(crate) use page::{Flag, PageQuery, Paging};
pub(crate) use site::{AtSite, ClientAddress, PeerAddress};

use crate::error::ApiError;
use axum::extract::{FromRequestParts, Query as AxumQuery};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// Path parameters.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

/// Query parameters. Unknown ones are passed over: existing clients send their own.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(AxumQuery::<T>::try_from_uri(&parts.uri)?.0))
    }
}
