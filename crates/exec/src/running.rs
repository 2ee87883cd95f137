//! What runs now: so that it can be cancelled by run or by function, and awaited at the stop.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use tollgate_core::function::Executable;
use tollgate_core::ids::{FunctionId, InvocationId};
use tollgate_core::invocation::{Failure, FailureKind};

/// The runs under way.
#[derive(Default, Clone)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Default)]
struct Inner {
    list: Mutex<List>,
    /// A run ended.
    ended: Notify,
}

#[derive(Default)]
struct List {
    runs: HashMap<InvocationId, Entry>,
    /// Whoever enters now is told to leave at once.
    closed: bool,
}

/// Stays until the run has left its place, so that a stop waits for its record as well.
struct Entry {
    executable: Arc<Executable>,
    /// None once it was told.
    stop: Option<oneshot::Sender<Stop>>,
}

impl Entry {
    fn tell(&mut self, stop: Stop) {
        if let Some(sender) = self.stop.take() {
            // A run that has just ended does not listen any more.
            let _ = sender.send(stop);
        }
    }
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
        executable: &Arc<Executable>,
    ) -> (Place, oneshot::Receiver<Stop>) {
        let (stop, stopped) = oneshot::channel();
        let mut entry = Entry {
            executable: Arc::clone(executable),
            stop: Some(stop),
        };
        let mut list = self.0.list.lock();
        if list.closed {
            entry.tell(Stop::Abandon);
        }
        list.runs.insert(id, entry);
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
        if let Some(entry) = self.0.list.lock().runs.get_mut(&id) {
            let failure = Failure::new(FailureKind::Cancelled, "The result was no longer wanted");
            entry.tell(Stop::Record(failure));
        }
    }

    /// Ends the runs of a function that must run no more.
    pub(crate) fn cancel_function(&self, function: FunctionId, failure: &Failure) {
        for entry in self.0.list.lock().runs.values_mut() {
            if entry.executable.function_id == function {
                entry.tell(Stop::Record(failure.clone()));
            }
        }
    }

    /// Ends everything, now and from now on, and leaves the records open.
    pub(crate) fn abandon_all(&self) {
        let mut list = self.0.list.lock();
        list.closed = true;
        list.runs
            .values_mut()
            .for_each(|entry| entry.tell(Stop::Abandon));
    }

    /// How many runs of each function there are, most first.
    pub(crate) fn by_function(&self) -> Vec<(String, usize)> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for entry in self.0.list.lock().runs.values() {
            *counts
                .entry(entry.executable.function_slug.clone())
                .or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        counts
    }

    pub(crate) fn count(&self) -> usize {
        self.0.list.lock().runs.len()
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
        self.running.0.list.lock().runs.remove(&self.id);
        self.running.0.ended.notify_waiters();
    }
}
