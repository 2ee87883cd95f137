//! The executor as the engine's dispatcher.

use crate::attempt::{Place, attempt};
use crate::executor::{Executor, Shared};
use crate::turns::{Queued, Room};
use std::sync::Arc;
use tokio::sync::oneshot;
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::invocation::{Failure, FailureKind};
use tollgate_core::ports::dispatch::{CancelOnDrop, Dispatcher, Reservation, RunHandle, TaskRun};

/// Room for runs that are being written.
struct Reserved {
    room: Room,
    shared: Arc<Shared>,
}

impl Reservation for Reserved {
    fn granted(&self) -> usize {
        self.room.count()
    }

    fn submit(mut self: Box<Self>, runs: Vec<TaskRun>) {
        for run in runs {
            let Some(room) = self.room.split() else {
                return;
            };
            let held = self.shared.holdings.add(run.invocation.id);
            self.shared.turns.push(Queued {
                run,
                room,
                held,
                shown: false,
            });
        }
    }
}

impl Dispatcher for Executor {
    fn holder(&self) -> Arc<str> {
        Arc::clone(&self.shared.holder)
    }

    fn run_now(&self, run: TaskRun) -> Result<RunHandle, Failure> {
        let shared = Arc::clone(&self.shared);
        if shared.is_stopping() {
            let message = "The server is stopping; try again in a moment";
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        let runtime = Arc::clone(shared.runtimes.of(&run.executable.source)?);
        let (sender, receiver) = oneshot::channel();
        let id = run.invocation.id;
        let (place, stopped) = shared.running.enter(id, run.executable.function_id);
        let running = shared.running.clone();
        tokio::spawn(async move {
            let attempt = attempt(&shared, runtime, run, Place::Wanted, stopped);
            if let Some(finished) = attempt.await {
                // A waiter that has gone away records the end itself.
                let _ = sender.send(finished);
            }
            drop(place);
        });
        Ok(RunHandle::new(
            receiver,
            CancelOnDrop::new(move || running.cancel(id)),
        ))
    }

    fn reserve(&self, site: SiteId, count: usize) -> Box<dyn Reservation> {
        let count = if self.shared.is_stopping() { 0 } else { count };
        Box::new(Reserved {
            room: self.shared.turns.reserve(site, count),
            shared: Arc::clone(&self.shared),
        })
    }

    fn wake(&self) {
        self.shared.wake.notify_one();
    }

    fn cancel_function(&self, function: FunctionId, failure: Failure) {
        self.shared.running.cancel_function(function, &failure);
    }
}
