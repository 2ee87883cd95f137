//! Whose turn it is, and what was answered before.

use super::flights::{Flights, Turn};
use super::{Answer, KeyedRequest, Remember, expired_at};
use crate::error::Error;
use crate::ids::UserId;
use crate::ports::store::{Conflict, Store};
use crate::rights::Principal;
use crate::site::TenantScope;
use crate::time::Clock;
use std::sync::Arc;

/// Whose keys they are: no key of one user or site is another's. Callers without a credential have none:
/// nobody could tell theirs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyOwner {
    pub(super) scope: TenantScope,
    pub(super) user: Option<UserId>,
}

impl From<&Principal> for KeyOwner {
    fn from(principal: &Principal) -> Self {
        Self {
            scope: principal.scope(),
            user: principal.user_id(),
        }
    }
}

/// How a request begins.
#[derive(Debug)]
pub enum Begun {
    /// It was answered before.
    Answered(Answer),
    /// It is to be carried out.
    First(Turn),
}

/// Keys of creating requests.
pub struct IdempotencyService {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    flights: Arc<Flights>,
}

impl IdempotencyService {
    /// A service on `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            flights: Arc::default(),
        }
    }

    /// Waits while a request with the same key is under way, then looks whether it was answered.
    ///
    /// # Errors
    /// [`Conflict::IdempotencyKey`] when the key belongs to another request;
    /// [`Error::Unavailable`] when too many keys are under way.
    pub async fn begin(&self, owner: KeyOwner, request: &KeyedRequest) -> Result<Begun, Error> {
        let turn = self.flights.turn((owner, request.key.clone())).await?;
        match self.answered(owner, request).await? {
            Some(answer) => Ok(Begun::Answered(answer)),
            None => Ok(Begun::First(turn)),
        }
    }

    /// What was answered to this request, if it was.
    ///
    /// # Errors
    /// [`Conflict::IdempotencyKey`] when the key belongs to another request.
    pub async fn answered(
        &self,
        owner: KeyOwner,
        request: &KeyedRequest,
    ) -> Result<Option<Answer>, Error> {
        let after = expired_at(self.clock.now());
        let stored = self
            .store
            .scoped(owner.scope)
            .stored_answer(owner.user, &request.key, after)
            .await?;
        match stored {
            Some(stored) if stored.request_hash != request.hash => {
                Err(Conflict::IdempotencyKey.into())
            }
            stored => Ok(stored.map(|stored| stored.answer)),
        }
    }

    /// What a write must carry so that its answer is stored.
    pub fn remember<T: 'static>(
        &self,
        owner: KeyOwner,
        request: KeyedRequest,
        turn: Turn,
        render: impl Fn(&T) -> Result<Answer, serde_json::Error> + Send + Sync + 'static,
    ) -> Remember<T> {
        Remember::new(owner.user, request, self.clock.now(), Some(turn), render)
    }
}
