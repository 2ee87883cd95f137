//! Growth and rest: looks at the queues and at idle workers now and then, often while anybody waits.

use super::Pool;
use super::books::Books;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::supervise::Supervisor;

/// How often queues are looked at.
const TICK: Duration = Duration::from_millis(5);
/// The shortest wait that starts another worker: a little less, so that a late look misses none.
pub(super) const GROWTH: Duration = Duration::from_millis(4);
/// The same where every processor is busy: another worker must be worth more than its start costs them.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

impl Pool {
    /// One look at queues and idle workers. Returns whether anybody waits.
    pub(super) fn look(self: &Arc<Self>, idle_too: bool) -> bool {
        let now = self.clock.monotonic();
        let spare = self.load.lock().is_spare(now);
        self.with_books(|books| {
            books.ledger.tick(now, spare);
            if idle_too {
                books.ledger.let_idle_go(now);
                let Books {
                    ledger,
                    executables,
                    ..
                } = books;
                executables.retain(|key, _| ledger.knows(*key));
            }
            books.ledger.is_waited_for()
        })
    }
}

/// Looks at the queues for as long as the pool exists: often while anybody waits.
pub(super) async fn tend(pool: Weak<Pool>, supervisor: Supervisor) {
    let known = pool.upgrade();
    let Some((idle, waiting)) = known.map(|it| (it.config.idle, Arc::clone(&it.waiting))) else {
        return;
    };
    let pause = (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
    let mut next_idle = tokio::time::Instant::now() + pause;
    let mut waited_for = false;
    loop {
        let tick = tokio::time::Instant::now() + TICK;
        let wake = if waited_for {
            tick.min(next_idle)
        } else {
            next_idle
        };
        tokio::select! {
            () = supervisor.stopped() => return,
            () = tokio::time::sleep_until(wake) => {}
            () = waiting.notified(), if !waited_for => {
                waited_for = true;
                continue;
            }
        }
        let Some(pool) = pool.upgrade() else { return };
        failpoint::hit(Point::LoopPool);
        let idle_too = tokio::time::Instant::now() >= next_idle;
        if idle_too {
            next_idle = tokio::time::Instant::now() + pause;
        }
        waited_for = pool.look(idle_too);
    }
}
