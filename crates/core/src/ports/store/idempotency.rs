//! Answers kept under the keys of the requests that they were given to.

use super::StoreError;
use crate::idempotency::{Answer, IdempotencyKey, RequestHash};
use crate::ids::UserId;
use crate::time::Timestamp;
use async_trait::async_trait;

/// An answer with what it was given to.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAnswer {
    /// The request.
    pub request_hash: RequestHash,
    /// The answer.
    pub answer: Answer,
}

/// Keys of creating requests. They are written by the writes that carry a
/// [`Remember`](crate::idempotency::Remember): in the same transaction, and when the key is there
/// already the whole write is a [`super::Conflict::IdempotencyKey`]. A key that has expired by the
/// new one's time (see [`crate::idempotency::expired_at`]) is replaced.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// What is stored under a user's key, or nobody's, since `after`.
    async fn stored_answer(
        &self,
        user: Option<UserId>,
        key: &IdempotencyKey,
        after: Timestamp,
    ) -> Result<Option<StoredAnswer>, StoreError>;
}
