//! The executor as the engine's dispatcher.

use crate::attempt::{Entry, attempt};
use crate::executor::{Executor, Shared};
use crate::queue::{shown_if_long, started};
use crate::turns::{Queued, Room};
use std::sync::Arc;
use tokio::sync::oneshot;
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::ports::dispatch::{CancelOnDrop, Dispatcher, Reservation, RunHandle, TaskRun};
use tollgate_core::ports::store::Line;
use tollgate_core::tasks::{Failure, FailureKind};

/// Room for runs that are being written.
struct Reserved {
    /// One for each run that was asked for.
    rooms: Vec<Option<Room>>,
    shared: Arc<Shared>,
}

impl Reservation for Reserved {
    fn granted(&self, number: usize) -> bool {
        self.rooms.get(number).is_some_and(Option::is_some)
    }

    fn submit(self: Box<Self>, runs: Vec<TaskRun>) {
        for (run, room) in runs.into_iter().zip(self.rooms.into_iter().flatten()) {
            let held = self.shared.holdings.add(run.invocation.id);
            self.shared.turns.push(Queued { run, room, held });
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
        let (entered, stopped) = shared.running.enter(id, &run.executable);
        let running = shared.running.clone();
        let of_run = Arc::clone(&shared);
        let work = async move {
            let started = started(&of_run, &run, Some(Arc::new(run.invocation.clone())));
            let attempt = attempt(&of_run, runtime, run, Entry::Waits, stopped);
            let finished = shown_if_long(&of_run, started, attempt).await;
            // A waiter that has gone away has recorded the end itself.
            let _ = sender.send(finished);
            drop(entered);
        };
        // As many as somebody waits for. One that panics is told to that somebody by the loss of the sender.
        drop(shared.runs.carry("waited run", work));
        Ok(RunHandle::new(
            receiver,
            CancelOnDrop::new(move || running.cancel(id)),
        ))
    }

    fn reserve(&self, site: SiteId, functions: &[FunctionId]) -> Box<dyn Reservation> {
        let stopping = self.shared.is_stopping();
        let reserve = |&function: &FunctionId| {
            let mut room = self.shared.turns.reserve(Line { site, function }, 1);
            room.split().filter(|_| !stopping)
        };
        Box::new(Reserved {
            rooms: functions.iter().map(reserve).collect(),
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
