//! What the pool knows, under one lock: the ledger, and the workers and those who wait that it speaks of.
//!
//! Bookkeeping decides; what it decided is done after the lock is released, because it may take it again.

use super::ledger::{Key, Ledger, Order, Ticket, WorkerId};
use super::{Grant, Lease, Pool, Refused};
use crate::process::worker::Worker;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tollgate_core::functions::Executable;

pub(super) struct Books {
    pub(super) ledger: Ledger,
    /// Workers in nobody's hands.
    pub(super) idle: HashMap<WorkerId, Worker>,
    pub(super) waiters: HashMap<Ticket, oneshot::Sender<Grant>>,
    /// What each version runs, under the options that were seen last.
    pub(super) executables: HashMap<Key, Arc<Executable>>,
}

/// What is to be done once the lock is released: each may take it again.
enum Action {
    Start(WorkerId, Key, Arc<Executable>),
    End(Worker, &'static str),
    Answer(oneshot::Sender<Grant>, Grant),
}

impl Books {
    fn act(&mut self, pool: &Arc<Pool>, order: Order) -> Option<Action> {
        match order {
            Order::Start { worker, key } => {
                let executable = self.executables.get(&key)?;
                Some(Action::Start(worker, key, Arc::clone(executable)))
            }
            // One that is in somebody's hands is ended by them.
            Order::Kill { worker, why } => Some(Action::End(self.idle.remove(&worker)?, why)),
            Order::Grant { ticket, worker } => {
                // A lease must not be dropped under the lock, so its taker first.
                let waiter = self.waiters.remove(&ticket)?;
                let lease = Lease::new(self.idle.remove(&worker)?, Arc::clone(pool));
                Some(Action::Answer(waiter, Ok(lease)))
            }
            Order::Refuse { ticket, full } => {
                let waiter = self.waiters.remove(&ticket)?;
                Some(Action::Answer(waiter, Err(Refused::Full(full))))
            }
        }
    }

    /// Takes over changed options: they are no part of a version.
    pub(super) fn adopt(&mut self, executable: &Arc<Executable>, now: Instant) {
        let key = Key::of(executable);
        let known = self.executables.entry(key);
        let known = known.or_insert_with(|| Arc::clone(executable));
        if Arc::ptr_eq(known, executable) {
            return;
        }
        let before = std::mem::replace(known, Arc::clone(executable));
        if before.memory_mb() != executable.memory_mb() {
            self.ledger.outdate(key, now);
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        if !self.ledger.knows(key) {
            self.executables.remove(&key);
        }
    }
}

impl Pool {
    /// Does some bookkeeping, and then, without the lock, what was decided.
    pub(super) fn with_books<T>(self: &Arc<Self>, book: impl FnOnce(&mut Books) -> T) -> T {
        let (outcome, actions) = {
            let mut books = self.books.lock();
            let outcome = book(&mut books);
            let orders = books.ledger.take_orders();
            let act = |order| books.act(self, order);
            let actions: Vec<_> = orders.into_iter().filter_map(act).collect();
            (outcome, actions)
        };
        for action in actions {
            match action {
                Action::Start(worker, key, executable) => {
                    let start = Arc::clone(self).start_worker(worker, key, executable);
                    let _inside = self.runtime.enter();
                    self.supervisor().spawn_passing("start", start);
                }
                Action::End(worker, why) => self.end(&worker, why),
                // Who waits no longer gives back what it was granted.
                Action::Answer(waiter, grant) => drop(waiter.send(grant)),
            }
        }
        outcome
    }
}
