//! What handlers take as arguments: the parts of a request, checked.
//!
//! Authorization happens here: a handler that takes [`Can`], [`InApp`] or [`InTier`] cannot be reached without
//! the right. Rejections are [`ApiError`]s, never axum's plain text.

mod caller;
mod change;
mod conditions;
mod creation;
mod files;
mod json;
mod page;
mod query;
mod request_info;
mod site;

pub(crate) use caller::{
    Caller, Can, InApp, InTier, StayingCaller, TierQuery, credential, session_token,
};
pub(crate) use change::{Change, Updates};
pub(crate) use conditions::{Conditions, IfMatch, IfNoneMatch, tagged};
pub(crate) use creation::Creation;
pub(crate) use files::{Files, FunctionForm, WithFiles};
pub(crate) use json::{Json, given, raw_body, set};
pub(crate) use page::{Flag, PageQuery, Paging};
pub(crate) use query::{Query, QueryNames, known, no_query, pairs};
pub(crate) use request_info::{About, RequestId};
pub(crate) use site::{AtSite, ClientAddress, PeerAddress};

use crate::error::ApiError;
use axum::extract::FromRequestParts;

/// Path parameters.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);
