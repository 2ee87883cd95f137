//! What becomes of a worker: given back, lost, loaded or not, ended.

use super::ledger::WorkerId;
use super::{Pool, Refused, StartFailure};
use crate::process::worker::Worker;
use std::sync::Arc;
use std::time::Duration;

/// A zygote that has not carried out a kill by then is broken.
const KILL_LIMIT: Duration = Duration::from_secs(5);

impl Pool {
    /// A worker is free. One that has ended meanwhile is in no books any more, and is dropped.
    pub(super) fn give_back(self: &Arc<Self>, worker: Worker) {
        let (number, now) = (worker.id, self.clock.monotonic());
        self.with_books(|books| {
            if books.ledger.returned(number, now) {
                books.idle.insert(number, worker);
            }
        });
    }

    /// A worker must not be used again.
    pub(super) fn lose(self: &Arc<Self>, worker: &Worker, why: &'static str) {
        let now = self.clock.monotonic();
        self.with_books(|books| books.ledger.lost(worker.id, why, now));
        self.end(worker, why);
    }

    pub(super) fn loaded(self: &Arc<Self>, worker: Worker) {
        let (number, now) = (worker.id, self.clock.monotonic());
        self.with_books(|books| {
            if books.ledger.loaded(number, now) {
                books.idle.insert(number, worker);
            }
        });
    }

    pub(super) fn not_loaded(self: &Arc<Self>, worker: WorkerId, refused: &StartFailure) {
        let now = self.clock.monotonic();
        let told = self.with_books(|books| {
            let tickets = books.ledger.failed(worker, now);
            let tickets = tickets.into_iter();
            tickets
                .filter_map(|ticket| books.waiters.remove(&ticket))
                .collect::<Vec<_>>()
        });
        for waiter in told {
            // Who waits no longer need not know.
            let _ = waiter.send(Err(Refused::Failed(refused.clone())));
        }
    }

    pub(super) fn exited(self: &Arc<Self>, worker: WorkerId) {
        let now = self.clock.monotonic();
        let gone = self.with_books(|books| {
            let gone = books.idle.remove(&worker);
            books.ledger.exited(worker, now);
            gone
        });
        drop(gone);
    }

    pub(super) fn park(self: &Arc<Self>, worker: WorkerId) {
        let now = self.clock.monotonic();
        self.with_books(|books| books.ledger.park(worker, now));
    }

    pub(super) fn resume(self: &Arc<Self>, worker: WorkerId) {
        self.with_books(|books| books.ledger.resume(worker));
    }

    /// Kills a worker that is in nobody's hands any more.
    pub(super) fn end(&self, worker: &Worker, reason: &'static str) {
        tracing::debug!(worker.id = worker.id, reason, "worker.killed");
        worker.zygote.kill(worker.id);
        let (zygote, mut exit) = (worker.zygote.clone(), worker.exit.clone());
        let watched = async move {
            let ended = tokio::time::timeout(KILL_LIMIT, exit.wait_for(Option::is_some)).await;
            if ended.is_err() {
                zygote.give_up_on();
            }
        };
        let _inside = self.runtime.enter();
        self.supervisor().spawn_passing("kill", watched);
    }
}
