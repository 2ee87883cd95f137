//! The shapes of successful answers.

use crate::words;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// The answer of an event route: exactly the API document's three keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventReply<T> {
    success: bool,
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    data: T,
}

impl<T> EventReply<T> {
    /// A success.
    pub(crate) fn new(message: impl Into<Cow<'static, str>>, data: T) -> Self {
        Self {
            success: true,
            message: message.into(),
            data,
        }
    }
}

impl<T: Serialize> IntoResponse for EventReply<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// The answer of every other route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reply<T> {
    success: bool,
    /// Always `success`.
    #[schema(schema_with = words::success)]
    status: &'static str,
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    data: T,
}

impl<T> Reply<T> {
    /// A success.
    pub(crate) fn new(message: impl Into<Cow<'static, str>>, data: T) -> Self {
        Self {
            success: true,
            status: "success",
            message: message.into(),
            data,
        }
    }

    /// The same with status 201.
    pub(crate) fn created(self) -> (StatusCode, Self) {
        (StatusCode::CREATED, self)
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// Part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListReply<T> {
    success: bool,
    /// Always `success`.
    #[schema(schema_with = words::success)]
    status: &'static str,
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    data: Vec<T>,
    /// How many there are in all.
    total: u64,
}

impl<T> ListReply<T> {
    /// Some of `total` items.
    pub(crate) fn new(message: &'static str, data: Vec<T>, total: u64) -> Self {
        Self {
            success: true,
            status: "success",
            message: message.into(),
            data,
            total,
        }
    }

    /// All items.
    pub(crate) fn all(message: &'static str, data: Vec<T>) -> Self {
        let total = data.len() as u64;
        Self::new(message, data, total)
    }
}

impl<T: Serialize> IntoResponse for ListReply<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// `{}`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nothing {}
