//! A run that a caller waits for, with the promise that its record always ends.
//!
//! The record is written once, with its end, unless the run lasts long enough to be watched: whoever runs it
//! writes its beginning then. A crash before that loses the record of an operation that did not happen.
//!
//! Whatever happens to the caller, also that it goes away in the middle, the record is completed, once:
//! by whoever takes the completion, else as cancelled, when the run has ended. A run that goes on for a short
//! while is waited for by nobody.

use super::Engine;
use super::completion::whole;
use crate::invocations::{Completion, NewInvocation};
use crate::pause;
use crate::ports::dispatch::{FinishedRun, RunHandle, Taken, TaskRun};
use crate::ports::runtime::RunReport;
use crate::ports::store::ScopedStore;
use crate::tasks::{Failure, FailureKind};
use std::sync::Arc;

/// A run under way or ended, not yet recorded.
pub(crate) struct WaitedRun {
    engine: Arc<Engine>,
    store: Arc<dyn ScopedStore>,
    invocation: Arc<NewInvocation>,
    taken: Taken,
    handle: Option<RunHandle>,
    finished: Option<FinishedRun>,
    unqueued: bool,
    recorded: bool,
}

impl WaitedRun {
    /// Hands the run to the dispatcher, without waiting.
    ///
    /// A refusal by the dispatcher is a run that has already failed: see [`Self::refused`].
    pub(crate) fn start(engine: &Arc<Engine>, store: &Arc<dyn ScopedStore>, run: TaskRun) -> Self {
        let mut waited = Self::of(engine, store, &run);
        match engine.dispatcher.run_now(run) {
            Ok(handle) => waited.handle = Some(handle),
            Err(failure) => {
                waited.unqueued = true;
                waited.finished = Some(waited.ended_with(failure));
            }
        }
        waited
    }

    /// A run that must not begin: its record says why.
    pub(crate) fn broken(
        engine: &Arc<Engine>,
        store: &Arc<dyn ScopedStore>,
        run: TaskRun,
        failure: Failure,
    ) -> Self {
        let mut waited = Self::of(engine, store, &run);
        waited.finished = Some(waited.ended_with(failure));
        waited
    }

    fn of(engine: &Arc<Engine>, store: &Arc<dyn ScopedStore>, run: &TaskRun) -> Self {
        Self {
            engine: Arc::clone(engine),
            store: Arc::clone(store),
            invocation: Arc::new(run.invocation.clone()),
            taken: run.taken.clone(),
            handle: None,
            finished: None,
            unqueued: false,
            recorded: false,
        }
    }

    pub(crate) fn invocation(&self) -> &NewInvocation {
        &self.invocation
    }

    /// Why the dispatcher did not take it, if so.
    pub(crate) fn refused(&self) -> Option<&Failure> {
        match &self.finished {
            Some(finished) if self.unqueued => finished.report.result.as_ref().err(),
            _ => None,
        }
    }

    /// Waits for the end and shows it.
    pub(crate) async fn wait(&mut self) -> &FinishedRun {
        let finished = match self.finished.take() {
            Some(finished) => finished,
            None => pause::waiting_for_a_run(self.ended()).await,
        };
        self.finished.insert(finished)
    }

    async fn ended(&mut self) -> FinishedRun {
        let report = match &mut self.handle {
            Some(handle) => handle.await,
            None => None,
        };
        report.unwrap_or_else(|| {
            let message = "The server stopped before this run ended";
            self.ended_with(Failure::new(FailureKind::Unavailable, message))
        })
    }

    /// The completion to be written, now the taker's duty. A run that has not ended is ended as
    /// cancelled, for the reason given.
    pub(crate) fn take_completion(&mut self, if_unfinished: &str) -> Completion {
        self.recorded = true;
        let finished = self.finished.take().unwrap_or_else(|| {
            self.ended_with(Failure::new(FailureKind::Cancelled, if_unfinished))
        });
        self.handle = None;
        whole(&self.invocation, &self.taken, finished)
    }

    /// Whether its record is somebody's duty already.
    pub(crate) const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Writes what was taken, without waiting.
    pub(crate) fn complete_later(&self, completion: Completion) {
        self.engine.complete_later(&*self.store, vec![completion]);
    }

    /// Whether it has ended.
    pub(crate) const fn has_ended(&self) -> bool {
        self.finished.is_some()
    }

    /// Nobody waits any more: it may end by itself for a short while, and is recorded as cancelled, with
    /// what it logged, whatever it returns.
    pub(crate) fn let_go(&mut self, reason: &str) {
        self.recorded = true;
        let cancelled = Failure::new(FailureKind::Cancelled, reason);
        // Without a runtime nobody can wait.
        let can_wait = tokio::runtime::Handle::try_current().is_ok();
        let (Some(mut handle), true) = (self.handle.take(), can_wait) else {
            let completion = self.take_completion(reason);
            self.engine.complete_later(&*self.store, vec![completion]);
            return;
        };
        handle.cancel();
        let unreported = self.ended_with(cancelled.clone());
        let (engine, store) = (Arc::clone(&self.engine), Arc::clone(&self.store));
        let (invocation, taken) = (Arc::clone(&self.invocation), self.taken.clone());
        let work = async move {
            let mut finished = handle.await.unwrap_or(unreported);
            finished.report.result = Err(cancelled);
            let completion = whole(&invocation, &taken, finished);
            engine.complete_later(&*store, vec![completion]);
        };
        drop(self.engine.supervisor.carry("ends", work));
    }

    /// Replaces the result by a failure that was found afterwards.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if let Some(finished) = &mut self.finished {
            finished.report.result = Err(failure);
        }
    }

    fn ended_with(&self, failure: Failure) -> FinishedRun {
        FinishedRun {
            report: RunReport::failed(failure),
            started_at: self.invocation.queued_at,
            finished_at: self.engine.clock.now(),
        }
    }
}

impl Drop for WaitedRun {
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        let reason = self.engine.why_abandoned();
        if self.has_ended() {
            let completion = self.take_completion(reason);
            self.engine.complete_later(&*self.store, vec![completion]);
        } else {
            self.let_go(reason);
        }
    }
}
