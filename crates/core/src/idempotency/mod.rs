//! `Idempotency-Key`: a repeated creating request gets the answer of the first one.
//!
//! The answer is stored by the transaction that writes the effect, so there is never one without
//! the other. Only effects are stored: a refused request may be repeated and runs again. This module
//! must never keep an answer in memory instead of the database.

mod flights;
mod remember;
mod service;

pub use flights::Turn;
pub use remember::{Remember, Remembered};
pub use service::{Begun, IdempotencyService, KeyOwner};

use crate::json::JsonText;
use crate::limits;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// A client's key: 1 to [`limits::IDEMPOTENCY_KEY_CHARS`] visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The key, if `text` can be one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=limits::IDEMPOTENCY_KEY_CHARS).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of what a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHash(pub [u8; 32]);

impl RequestHash {
    /// The hash of method, path and body. Blanks in the body and the order of its keys do not count.
    pub fn of(method: &str, path: &str, body: &Value) -> Self {
        let mut hash = Sha256::new();
        // Neither a method nor a path can contain a line break.
        for part in [method, "\n", path, "\n"] {
            hash.update(part);
        }
        // Keys are sorted: a `Value`'s objects are ordered maps.
        hash.update(body.to_string());
        Self(hash.finalize().into())
    }
}

/// A request with its client's key.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// The key.
    pub key: IdempotencyKey,
    /// What is asked for.
    pub hash: RequestHash,
}

/// An answer, complete: what the first caller gets, and whoever repeats the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status on the wire.
    pub status: u16,
    /// The body.
    pub body: JsonText,
}

impl Answer {
    /// Serialises `body`.
    ///
    /// # Errors
    /// When `body`'s `Serialize` fails.
    pub fn new<T: Serialize + ?Sized>(status: u16, body: &T) -> Result<Self, serde_json::Error> {
        let body = JsonText::of(body)?;
        Ok(Self { status, body })
    }
}

/// Keys that were stored at this moment or before it have expired by `now`.
pub fn expired_at(now: Timestamp) -> Timestamp {
    let ttl = i64::try_from(limits::IDEMPOTENCY_TTL.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_visible_and_bounded() {
        for good in ["a", "6fa4-\"quoted\"", &"k".repeat(255)] {
            let key = IdempotencyKey::new(good);
            assert_eq!(key.as_ref().map(IdempotencyKey::as_str), Some(good));
        }
        for bad in ["", "a b", "a\u{7f}", "ключ", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hash_tells_requests_apart_and_not_their_spelling() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let of = |body: &Value| RequestHash::of("POST", "/api/apps/", body);
        let one = of(&read("{\"name\":\"A\",\"slug\":\"a\"}"));
        assert_eq!(one, of(&read("{ \"slug\": \"a\",\n \"name\": \"A\" }")));
        let body = json!({"name": "A", "slug": "a"});
        for other in [
            of(&json!({"name": "A", "slug": "b"})),
            RequestHash::of("PUT", "/api/apps/", &body),
            RequestHash::of("POST", "/api/users/", &body),
        ] {
            assert_ne!(one, other);
        }
    }
}
