//! What a write carries so that its answer is stored with it.

use super::flights::Turn;
use super::{Answer, IdempotencyKey, KeyedRequest, RequestHash};
use crate::ids::UserId;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

type Render<T> = dyn Fn(&T) -> Result<Answer, serde_json::Error> + Send + Sync;

/// The wish that the answer to this request be stored with the `T` that the request makes.
///
/// A store calls [`Self::finish`] inside its transaction, with the record as it was written.
/// Cloning is cheap. As long as a clone exists, also one inside a write that its caller no longer
/// waits for, requests with the same key wait.
pub struct Remember<T> {
    entry: Arc<Entry>,
    render: Arc<Render<T>>,
}

struct Entry {
    user: Option<UserId>,
    request: KeyedRequest,
    created_at: Timestamp,
    finished: Mutex<Option<Answer>>,
    _turn: Option<Turn>,
}

/// An answer to be stored under its key.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Whose key it is; none for callers without a credential.
    pub user: Option<UserId>,
    /// The key.
    pub key: IdempotencyKey,
    /// What was asked for.
    pub request_hash: RequestHash,
    /// The answer.
    pub answer: Answer,
    /// When the request began.
    pub created_at: Timestamp,
}

impl<T: 'static> Remember<T> {
    /// Stores what `render` makes of the record. `render` may run more than once, on the store's
    /// own thread: it must have no effect and not block.
    pub fn new(
        user: Option<UserId>,
        request: KeyedRequest,
        created_at: Timestamp,
        turn: Option<Turn>,
        render: impl Fn(&T) -> Result<Answer, serde_json::Error> + Send + Sync + 'static,
    ) -> Self {
        let entry = Entry {
            user,
            request,
            created_at,
            finished: Mutex::new(None),
            _turn: turn,
        };
        Self {
            entry: Arc::new(entry),
            render: Arc::new(render),
        }
    }

    /// The same for a store that writes a `U`, of which `made` makes the `T`.
    #[must_use]
    pub fn of<U>(self, made: impl Fn(&U) -> T + Send + Sync + 'static) -> Remember<U> {
        let render = self.render;
        Remember {
            entry: self.entry,
            render: Arc::new(move |written| render(&made(written))),
        }
    }

    /// The finished answer, to be stored now.
    ///
    /// # Errors
    /// When it does not serialise: a bug.
    pub fn finish(&self, made: &T) -> Result<Remembered, serde_json::Error> {
        let answer = (self.render)(made)?;
        *self.entry.finished.lock() = Some(answer.clone());
        Ok(Remembered {
            user: self.entry.user,
            key: self.entry.request.key.clone(),
            request_hash: self.entry.request.hash,
            answer,
            created_at: self.entry.created_at,
        })
    }
}

impl<T> Remember<T> {
    /// Whose key it is.
    pub fn user(&self) -> Option<UserId> {
        self.entry.user
    }

    /// The key.
    pub fn key(&self) -> &IdempotencyKey {
        &self.entry.request.key
    }

    /// When the request began.
    pub fn created_at(&self) -> Timestamp {
        self.entry.created_at
    }

    /// The answer that was finished last: once the write has succeeded, the one that is stored.
    pub fn answer(&self) -> Option<Answer> {
        self.entry.finished.lock().clone()
    }
}

impl<T> Clone for Remember<T> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
            render: Arc::clone(&self.render),
        }
    }
}

impl<T> fmt::Debug for Remember<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remember")
            .field("user", &self.entry.user)
            .field("request", &self.entry.request)
            .finish_non_exhaustive()
    }
}
