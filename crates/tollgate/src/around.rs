//! The whole pattern in one call: ask, save, publish.

use crate::actor::Actor;
use crate::builder::Tollgate;
use crate::error::AroundError;
use crate::events::Proposed;
use rusqlite::Connection;
use std::sync::Arc;
use tollgate_core::engine::Saving;
use tollgate_core::error::Error;
use tollgate_core::events::{Announcement, Event, LifecycleEvent};
use tollgate_core::ports::store::StoreError;

/// An operation: what is proposed, and what has happened when it was saved.
pub struct Operation<Pre, Post> {
    proposal: Pre,
    outcome: Box<dyn FnOnce(&Pre) -> Post + Send>,
}

impl<Pre, Post> Operation<Pre, Post>
where
    Pre: Announcement + Clone,
    Post: LifecycleEvent,
{
    /// Saving `proposal`, of which `outcome` tells in the end. It is called with what every function agreed to, before
    /// anything is saved: what is told is written together with what is saved. Take keys of your own (a UUID, say)
    /// rather than those that the database gives.
    pub fn new(proposal: Pre, outcome: impl FnOnce(&Pre) -> Post + Send + 'static) -> Self {
        Self {
            proposal,
            outcome: Box::new(outcome),
        }
    }
}

impl Tollgate {
    /// Publishes the PRE event, waits until every function has agreed, calls `save` with what they agreed to, and
    /// publishes the POST event, in that order and with these promises:
    ///
    /// - No transaction is open while functions run.
    /// - What `save` writes, the records of the functions that agreed, and the runs that follow are one transaction:
    ///   all of it is on disk when this returns, or nothing.
    /// - A run that follows a saved operation is never lost, whatever becomes of this process.
    /// - Dropping the future before `save` is called cancels the functions and saves nothing; afterwards it goes to the
    ///   end.
    ///
    /// `save` runs on the engine's own writer, where every write waits for it: SQL and nothing else. It may run more than once,
    /// each time on what stood there before, so it must have no effect but on the connection; it neither begins nor ends a
    /// transaction.
    ///
    /// # Errors
    /// [`AroundError`]: nothing was saved.
    pub async fn around<Pre, Post, T, E>(
        &self,
        operation: Operation<Pre, Post>,
        actor: &Actor,
        mut save: impl FnMut(&Connection, &Pre) -> Result<T, E> + Send + 'static,
    ) -> Result<T, AroundError<E>>
    where
        Pre: Announcement + Clone,
        Post: LifecycleEvent,
        T: Send + 'static,
        E: Send + 'static,
    {
        let Operation { proposal, outcome } = operation;
        let (events, principal) = (&self.inner.services.events, &actor.0);
        let admitted = events.admit(Post::TYPE, principal).await;
        admitted.map_err(AroundError::of)?;
        let pre = Event::of(proposal.clone());
        let agreement = events.ask(&pre, Proposed(proposal), principal).await;
        let agreement = agreement.map_err(AroundError::of)?;
        let agreed = Arc::new(agreement.proposal.0);
        let post = Event::of(outcome(&agreed));
        let write = move |connection: &Connection| save(connection, &agreed);
        let (change, made) = tollgate_store_sqlite::host_change(write);
        let saving = Saving {
            posts: vec![post],
            verdicts: agreement.verdicts,
            ..Saving::of(change)
        };
        let saved = events.save(saving, principal).await;
        came_to(saved, made.take())
    }

    /// Writes to your own tables with no event around it: for making them, and for what nobody has to agree to. The rules for
    /// `write` are those of [`Self::around`].
    ///
    /// # Errors
    /// [`AroundError::Save`] with what `write` said, [`AroundError::Engine`].
    pub async fn write<T, E>(
        &self,
        write: impl FnMut(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, AroundError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (change, made) = tollgate_store_sqlite::host_change(write);
        let saved = self
            .inner
            .services
            .events
            .save(Saving::of(change), &self.inner.program);
        came_to(saved.await, made.take())
    }
}

/// What a change made, if its unit was committed.
fn came_to<T, E>(
    saved: Result<(), Error>,
    made: Option<Result<T, E>>,
) -> Result<T, AroundError<E>> {
    match (saved, made) {
        (Ok(()), Some(Ok(made))) => Ok(made),
        (Err(Error::Store(StoreError::Refused)), Some(Err(error))) => Err(AroundError::Save(error)),
        (Err(error), _) => Err(AroundError::of(error)),
        (Ok(()), _) => {
            let what = "a change was committed and not made".to_owned();
            Err(AroundError::Engine(Error::Internal(what)))
        }
    }
}
