//! A worker at the disposal of one call, and what becomes of it afterwards.
//!
//! A worker that was left in the middle of a call must never come back: dropping the lease kills it unless
//! the call ended with an answer.

use super::Pool;
use super::ledger::WorkerId;
use crate::process::protocol::Fitness;
use crate::process::worker::Worker;
use async_trait::async_trait;
use std::sync::{Arc, Weak};
use tollgate_core::pause::Held;

/// A worker at the disposal of one call.
pub(in crate::process) struct Lease {
    /// None once it was given away.
    worker: Option<Worker>,
    pool: Arc<Pool>,
    /// Between calls, so that others may have it.
    clean: bool,
}

impl Lease {
    pub(super) const fn new(worker: Worker, pool: Arc<Pool>) -> Self {
        Self {
            worker: Some(worker),
            pool,
            clean: true,
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_quiet)
    }

    /// The worker, for a call. Unless [`Self::finish`] follows, it is killed.
    pub(in crate::process) fn begin(&mut self) -> &mut Worker {
        self.clean = false;
        self.worker
            .as_mut()
            .expect("a lease holds its worker until it is dropped")
    }

    /// The call ended with an answer: a fit worker is given back, another one is replaced.
    pub(in crate::process) fn finish(mut self, fitness: &Fitness) {
        match fitness {
            Fitness::Fit => self.clean = true,
            Fitness::Unfit(reason) => {
                if let Some(worker) = self.worker.take() {
                    tracing::debug!(worker.id = worker.id, reason, "worker.unfit");
                    self.pool.lose(&worker, "unfit");
                }
            }
        }
    }

    /// Kills the worker with everything it started, and keeps the handle on its remains.
    pub(in crate::process) fn kill(mut self, reason: &'static str) -> Option<Worker> {
        let worker = self.worker.take()?;
        self.pool.lose(&worker, reason);
        Some(worker)
    }

    /// Its worker's place, to be given back while its run waits for another one.
    pub(in crate::process) fn place(&self) -> Option<Arc<Place>> {
        let worker = self.worker.as_ref()?.id;
        let pool = Arc::downgrade(&self.pool);
        Some(Arc::new(Place { pool, worker }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        if self.clean {
            self.pool.give_back(worker);
        } else {
            self.pool.lose(&worker, "dropped");
        }
    }
}

/// The place that a busy worker takes among all workers.
pub(in crate::process) struct Place {
    pool: Weak<Pool>,
    worker: WorkerId,
}

#[async_trait]
impl Held for Place {
    fn give_back(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.park(self.worker);
        }
    }

    async fn take_again(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.resume(self.worker);
        }
    }
}
