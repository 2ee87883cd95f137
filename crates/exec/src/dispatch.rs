//! The executor as the engine's dispatcher.

use crate::attempt::attempt;
use crate::executor::Executor;
use std::sync::Arc;
use tokio::sync::oneshot;
use tollgate_core::ids::FunctionId;
use tollgate_core::invocation::{Failure, FailureKind};
use tollgate_core::ports::dispatch::{CancelOnDrop, Dispatcher, Reservation, RunHandle, TaskRun};

impl Dispatcher for Executor {
    fn holder(&self) -> &str {
        &self.shared.holder
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
            if let Some(finished) = attempt(&shared, runtime, run, stopped).await {
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

    fn reserve(&self, count: usize) -> Box<dyn Reservation> {
        let count = if self.shared.is_stopping() { 0 } else { count };
        Box::new(self.shared.queue.reserve(count))
    }

    fn wake(&self) {
        self.shared.wake.notify_one();
    }

    fn cancel_function(&self, function: FunctionId) {
        self.shared.running.cancel_function(function);
    }
}
