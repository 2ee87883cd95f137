//! An operation around which events stand: ask, save, publish, in that order and with these promises.
//!
//! No transaction is open while functions run. The change, the results of the functions that agreed to it and
//! the runs that follow are one unit of work; what was agreed and is not saved is still on record. Whoever makes
//! an operation stands outside: must never know what is saved.

use super::publish::EventService;
use super::stage::{Agreement, Verdicts};
use super::{Engine, Proposal};
use crate::error::Error;
use crate::events::Event;
use crate::failpoint::{self, Point};
use crate::invocations::Completion;
use crate::ports::store::{Change, OnCommit, ScopedStore, StoreError, Work, to_the_end};
use crate::rights::{Access, Principal};
use std::sync::Arc;

/// What follows an agreement.
pub struct Saving {
    /// What is saved.
    pub change: Change,
    /// What happened by it.
    pub posts: Vec<Event>,
    /// What it rests on.
    pub verdicts: Verdicts,
    /// Called once the write has ended, whatever became of it and of the caller: for what memory keeps.
    pub afterwards: Box<dyn FnOnce() + Send>,
}

impl Saving {
    /// A change that rests on nothing and that no event tells of.
    pub fn of(change: Change) -> Self {
        Self {
            change,
            posts: Vec::new(),
            verdicts: Verdicts::default(),
            afterwards: Box::new(|| {}),
        }
    }
}

impl EventService {
    /// Publishes a PRE event and waits until every function has agreed to `proposal`.
    ///
    /// # Errors
    /// [`Error::PreStage`] when one of them did not; as [`Self::publish_event`].
    pub async fn ask<P: Proposal>(
        &self,
        pre: &Event,
        proposal: P,
        principal: &Principal,
    ) -> Result<Agreement<P>, Error> {
        let publication = self.publish_event(pre, principal).await?;
        let Some(stage) = publication.stage else {
            let event = pre.event_type();
            return Err(Error::Internal(format!("{event} is no PRE event")));
        };
        let agreement = stage.decide(proposal).await?;
        failpoint::hit(Point::PreAgreed);
        Ok(agreement)
    }

    /// Goes on if whoever asked still may: functions take their time, and rights hold when they are used. If not, the
    /// functions did run, and nothing is saved.
    ///
    /// # Errors
    /// Those of `may`.
    pub(crate) async fn still<A: Access, T>(
        &self,
        access: &A,
        verdicts: &mut Verdicts,
        may: impl FnOnce(A) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let error = match self.engine.still(access).await.and_then(may) {
            Ok(now) => return Ok(now),
            Err(error) => error,
        };
        let store = self.engine.scoped(access.asker().scope());
        let completions = verdicts.take_completions();
        let completions = completions.into_iter().map(Completion::unsaved).collect();
        let engine = Arc::clone(&self.engine);
        let work = async move { engine.complete_or_later(&store, completions).await };
        self.engine.detached(work).await;
        Err(error)
    }

    /// Saves, with everything that must be written with it. From here on it goes to the end, whatever becomes of the
    /// caller. When it loses against another change, the functions' results are still put on record.
    ///
    /// # Errors
    /// What the change ran into, and as [`Self::publish_event`].
    pub async fn save(&self, saving: Saving, principal: &Principal) -> Result<(), Error> {
        let Saving {
            change,
            posts,
            mut verdicts,
            afterwards,
        } = saving;
        let mut work = Work {
            author: principal.author(),
            change: Some(change),
            ..Work::default()
        };
        for post in &posts {
            self.add(post, principal, &mut work).await?;
        }
        let agreed = verdicts.take_completions();
        let engine = Arc::clone(&self.engine);
        let store = engine.scoped(principal.scope());
        let written = to_the_end(&self.engine.supervisor, async move {
            let written = engine.write(&store, work, agreed).await;
            afterwards();
            written
        });
        written.await?;
        failpoint::hit(Point::ReplyBefore);
        Ok(())
    }

    /// Adds the runs of a POST event to a unit of work.
    pub(super) async fn add(
        &self,
        post: &Event,
        principal: &Principal,
        work: &mut Work,
    ) -> Result<(), Error> {
        let prepared = self.prepare(post, principal).await?;
        work.births.extend(prepared.invocations);
        work.ends.extend(prepared.completions);
        let (first, next) = (
            std::mem::replace(&mut work.on_commit, Box::new(|| {})),
            prepared.on_commit,
        );
        work.on_commit = both(first, next);
        Ok(())
    }
}

fn both(first: OnCommit, next: OnCommit) -> OnCommit {
    Box::new(move || {
        first();
        next();
    })
}

impl Engine {
    /// Writes a unit with the ends of the runs that agreed to it, and tells those who watch.
    pub(super) async fn write(
        self: &Arc<Self>,
        store: &Arc<dyn ScopedStore>,
        mut work: Work,
        agreed: Vec<Completion>,
    ) -> Result<(), StoreError> {
        let kept: Vec<_> = agreed.iter().cloned().map(Completion::unsaved).collect();
        work.ends = [agreed, work.ends].concat();
        let changes: Vec<_> = work.ends.iter().map(Completion::change).collect();
        let written = store.commit(work).await;
        match &written {
            Ok(()) => changes.into_iter().for_each(|it| self.tell_watchers(it)),
            Err(_) if kept.is_empty() => {}
            // The functions did run, whatever became of the change.
            Err(_) => self.complete_or_later(store, kept).await,
        }
        written
    }

    /// Carries work to its end, even if whoever waits for it goes away.
    pub(super) async fn detached(&self, work: impl Future<Output = ()> + Send + 'static) {
        // One that panicked has said so, and nobody else can do its work.
        let _ = self.supervisor.carry("ends", work).await;
    }
}
