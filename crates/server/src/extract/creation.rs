//! Bodies of creating requests, with the client's `Idempotency-Key` if it sent one.

use super::json::{self, Json};
use crate::error::ApiError;
use crate::once::{KEY, Once};
use crate::paths;
use crate::state::AppState;
use axum::extract::{FromRequest, OriginalUri, Request};
use axum::http::Uri;
use axum::http::header::HeaderMap;
use serde::de::DeserializeOwned;
use tollgate_core::draft::Draft;
use tollgate_core::idempotency::{IdempotencyKey, KeyedRequest, RequestHash};
use tollgate_core::limits;

/// The JSON body of a creating request, and its key.
pub(crate) struct Creation<T>(pub(crate) Draft<T>, pub(crate) Once);

impl<T: DeserializeOwned> FromRequest<AppState> for Creation<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let Some(key) = key(request.headers())? else {
            let Json(body) = Json::from_request(request, app).await?;
            return Ok(Self(body, Once(None)));
        };
        let method = request.method().clone();
        let uri = asked(&request);
        let (body, _) = json::body(request, app).await?;
        let text = json::checked(&body.bytes)?;
        let request = json::read(text)?;
        // A query may say where it is created: `?app=` does for secrets.
        let target = uri.path_and_query().map_or(uri.path(), |it| it.as_str());
        let hash = RequestHash::of(method.as_str(), target, text)
            .map_err(|error| ApiError::internal(format!("a checked body: {error}")))?;
        Ok(Self(request, Once(Some(KeyedRequest { key, hash }))))
    }
}

/// The address that was asked for, in its one spelling: routing takes prefixes away from the
/// request's own copy.
fn asked(request: &Request) -> Uri {
    let uri = match request.extensions().get() {
        Some(OriginalUri(uri)) => uri,
        None => request.uri(),
    };
    paths::routed(uri).unwrap_or_else(|| uri.clone())
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut given = headers.get_all(KEY).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let key = first.to_str().ok().and_then(IdempotencyKey::new);
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(ApiError::bad_request(format!(
            "Idempotency-Key: send it once, with 1 to {} visible ASCII characters",
            limits::IDEMPOTENCY_KEY_CHARS
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&'static [u8]]) -> Result<Option<String>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, HeaderValue::from_bytes(value).unwrap());
        }
        let key = key(&headers).map_err(drop)?;
        Ok(key.map(|key| key.as_str().to_owned()))
    }

    #[test]
    fn one_key_is_taken() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[b"k-1"]), Ok(Some("k-1".to_owned())));
        for wrong in [&[&b""[..]][..], &[b"a b"], &[b"\xff"], &[b"a", b"a"]] {
            assert_eq!(of(wrong), Err(()), "{wrong:?}");
        }
    }
}
