//! Which part of a list is asked for.

use super::Query;
use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Deserializer};
use tollgate_core::limits;
use tollgate_core::ports::store::PageRequest;
use utoipa::IntoParams;

/// The two ways to ask for a part of a list; `limit` and `offset` win.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// Items of a page: 20, and at most 100.
    page_size: Option<u32>,
    /// Most items, at most 100.
    limit: Option<u32>,
    /// Items to pass over.
    offset: Option<u64>,
}

/// The part of a list that is asked for.
pub(crate) struct Paging(pub(crate) PageRequest);

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        query.request().map(Self)
    }
}

impl PageQuery {
    fn request(&self) -> Result<PageRequest, ApiError> {
        let limit = self
            .limit
            .or(self.page_size)
            .unwrap_or(limits::PAGE_SIZE_DEFAULT);
        let limit = limit.min(limits::PAGE_SIZE_MAX);
        if self.limit.is_some() || self.offset.is_some() {
            return Ok(PageRequest {
                limit,
                offset: self.offset.unwrap_or(0).min(MOST),
            });
        }
        let page = self.page.unwrap_or(1);
        if page == 0 {
            return Err(ApiError::invalid("page", "Pages are counted from 1"));
        }
        Ok(PageRequest {
            limit,
            offset: (page - 1).saturating_mul(limit.into()).min(MOST),
        })
    }
}

/// Databases count in signed numbers.
const MOST: u64 = i64::MAX as u64;

/// A yes or no in a query string, in any spelling that clients use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(Self(true)),
            "false" | "0" | "no" => Ok(Self(false)),
            _ => Err(serde::de::Error::custom("Use true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str) -> Option<(u32, u64)> {
        let uri = format!("/?{query}").parse().unwrap();
        let query: PageQuery = crate::extract::query::of(&uri).ok()?;
        query.request().ok().map(|page| (page.limit, page.offset))
    }

    #[test]
    fn both_ways_of_paging_are_bounded() {
        assert_eq!(request(""), Some((20, 0)));
        assert_eq!(request("page=3"), Some((20, 40)));
        assert_eq!(request("page=2&page_size=5"), Some((5, 5)));
        assert_eq!(request("page_size=1000"), Some((100, 0)));
        assert_eq!(request("limit=7&offset=9&page=4"), Some((7, 9)));
        assert_eq!(request("offset=3"), Some((20, 3)));
        assert_eq!(request("limit=0"), Some((0, 0)));
        let last = i64::MAX as u64;
        assert_eq!(request("page=18446744073709551615"), Some((20, last)));
        assert_eq!(request("offset=18446744073709551615"), Some((20, last)));
        for wrong in [
            "page=0",
            "page=-1",
            "page=x",
            "limit=1.5",
            "limit=4294967296",
        ] {
            assert_eq!(request(wrong), None, "{wrong}");
        }
    }
}
