//! `Idempotency-Key`: a repeated creating request gets the answer of the first one.
//!
//! The answer is stored by the transaction that writes the effect, so there is never one without
//! the other. Only effects are stored: a refused request may be repeated and runs again. This module
//! must never keep an answer in memory instead of the database.

mod canonical;
mod flights;
mod remember;
mod service;

use canonical::Canonical;
pub use flights::Turn;
pub use remember::{Remember, Remembered};
pub use service::{Begun, IdempotencyService, KeyOwner};

use crate::json::JsonText;
use crate::limits;
use crate::time::Timestamp;
use serde::Serialize;
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
    /// The hash of method, path and JSON body. Blanks in the body and the order of its keys do not
    /// count, unless it holds a number beyond 64 bits.
    ///
    /// # Errors
    /// When the body is not JSON.
    pub fn of(method: &str, path: &str, body: &str) -> Result<Self, serde_json::Error> {
        let value: Canonical = serde_json::from_str(body)?;
        let mut hash = Sha256::new();
        // Neither a method nor a path can contain a line break.
        for part in [method, "\n", path, "\n"] {
            hash.update(part);
        }
        // Keys are sorted.
        let mut text = String::with_capacity(body.len());
        value.write(&mut text);
        hash.update(text);
        if value.is_rounded() {
            hash.update("\n");
            hash.update(body);
        }
        Ok(Self(hash.finalize().into()))
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
    now.minus(limits::IDEMPOTENCY_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let hash = |method, path, body| RequestHash::of(method, path, body).unwrap();
        let of = |body| hash("POST", "/api/apps/", body);
        let body = r#"{"name":"A","n":[1.50,2]}"#;
        assert_eq!(of(body), of("{ \"n\": [1.5, 2],\n \"name\": \"\\u0041\" }"));
        for other in [
            of(r#"{"name":"A","n":[2,1.5]}"#),
            of(r#"{"name":"B","n":[1.5,2]}"#),
            hash("PUT", "/api/apps/", body),
            hash("POST", "/api/users/", body),
        ] {
            assert_ne!(of(body), other);
        }
        for (one, next) in [
            ("36893488147419103232", "36893488147419103233"),
            ("-9223372036854775809", "-9223372036854775810"),
        ] {
            assert_ne!(of(one), of(next));
        }
        assert!(RequestHash::of("POST", "/", "{").is_err());
    }
}
