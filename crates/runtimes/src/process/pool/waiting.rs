//! Waiting for a worker: an idle one, else the next that becomes free or ready.

use super::ledger::{Key, Ticket, Wish};
use super::{Grant, Pool, Refused, StartFailure};
use crate::process::protocol::Fitness;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tollgate_core::functions::Executable;

/// Somebody's place in the queue; leaving it is automatic.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    key: Key,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let now = self.pool.clock.monotonic();
        self.pool.with_books(|books| {
            if books.waiters.remove(&self.ticket).is_some() {
                books.ledger.give_up(self.key, self.ticket, now);
                books.forget(self.key);
            }
        });
    }
}

impl Pool {
    /// A worker for one call, by `deadline`: an idle one, else the next that becomes free or ready.
    /// `depth` is how many functions stand between the call and the request from outside.
    pub(in crate::process) async fn acquire(
        self: &Arc<Self>,
        executable: &Arc<Executable>,
        depth: u32,
        deadline: Instant,
    ) -> Grant {
        let most = executable.options.max_concurrency;
        let most = most.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let wish = Wish {
            key: Key::of(executable),
            function: executable.function_id,
            most,
            depth,
            deadline,
        };
        loop {
            let lease = self.ask(executable, wish).await?;
            if lease.is_quiet() {
                return Ok(lease);
            }
            lease.kill("broken while idle");
        }
    }

    pub(super) async fn ask(self: &Arc<Self>, executable: &Arc<Executable>, wish: Wish) -> Grant {
        let now = self.clock.monotonic();
        let (sender, mut turn) = oneshot::channel();
        let ticket = self.with_books(|books| {
            if books.ledger.is_closed() {
                return None;
            }
            books.adopt(executable, now);
            let ticket = books.ledger.ask(wish, now);
            books.waiters.insert(ticket, sender);
            Some(ticket)
        });
        let Some(ticket) = ticket else {
            return Err(Refused::Failed(StartFailure::closed()));
        };
        if let Ok(granted) = turn.try_recv() {
            return granted;
        }
        self.waiting.notify_one();
        let _waiting = Waiting {
            pool: self,
            key: wish.key,
            ticket,
        };
        turn.await
            .unwrap_or_else(|_| Err(Refused::Failed(StartFailure::closed())))
    }

    /// Makes sure that a worker is ready.
    pub(in crate::process) async fn warm(
        self: &Arc<Self>,
        executable: &Arc<Executable>,
        deadline: Instant,
    ) -> Result<(), Refused> {
        let lease = self.acquire(executable, 0, deadline).await?;
        lease.finish(&Fitness::Fit);
        Ok(())
    }
}
