//! What runs now: so that it can be cancelled by run or by function, and awaited at the stop.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use tollgate_core::ids::{FunctionId, InvocationId};
use tollgate_core::invocation::{Failure, FailureKind};

/// The runs under way.
#[derive(Default, Clone)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Default)]
struct Inner {
    runs: Mutex<HashMap<InvocationId, Entry>>,
    /// A run ended.
    ended: Notify,
}

struct Entry {
    function: FunctionId,
    stop: oneshot::Sender<Stop>,
}

/// Why a run is ended from outside.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its record says so.
    Record(Failure),
    /// Its record stays open, to be handed back.
    Abandon,
}

/// A place in the list; leaving it is automatic.
pub(crate) struct Place {
    running: Running,
    id: InvocationId,
}

impl Running {
    /// Enters a run; the receiver tells it to stop.
    pub(crate) fn enter(
        &self,
        id: InvocationId,
        function: FunctionId,
    ) -> (Place, oneshot::Receiver<Stop>) {
        let (stop, stopped) = oneshot::channel();
        self.0.runs.lock().insert(id, Entry { function, stop });
        (
            Place {
                running: self.clone(),
                id,
            },
            stopped,
        )
    }

    /// Ends one run as cancelled. Does nothing when it has ended.
    pub(crate) fn cancel(&self, id: InvocationId) {
        let entry = self.0.runs.lock().remove(&id);
        if let Some(entry) = entry {
            let failure = Failure::new(FailureKind::Cancelled, "The result was no longer wanted");
            let _ = entry.stop.send(Stop::Record(failure));
        }
    }

    /// Ends the runs of a function that is gone.
    pub(crate) fn cancel_function(&self, function: FunctionId) {
        let mut runs = self.0.runs.lock();
        let ids: Vec<_> = runs
            .iter()
            .filter(|(_, it)| it.function == function)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(entry) = runs.remove(&id) {
                let message = "The function was deleted or switched off while this ran";
                let failure = Failure::new(FailureKind::Deleted, message);
                let _ = entry.stop.send(Stop::Record(failure));
            }
        }
    }

    /// Ends everything and leaves the records open.
    pub(crate) fn abandon_all(&self) {
        for (_, entry) in self.0.runs.lock().drain() {
            let _ = entry.stop.send(Stop::Abandon);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.runs.lock().len()
    }

    /// Waits until nothing runs.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.0.runs.lock().remove(&self.id);
        self.running.0.ended.notify_waiters();
    }
}
