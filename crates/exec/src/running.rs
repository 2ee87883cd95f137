//! What runs now: so that it can be cancelled by run or by function, and awaited at the stop.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tollgate_core::functions::Executable;
use tollgate_core::ids::{FunctionId, InvocationId};
use tollgate_core::tasks::{Failure, FailureKind};

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

/// Stays until the run has left the list, so that a stop waits for its record as well.
struct Entry {
    executable: Arc<Executable>,
    stop: watch::Sender<Option<Stop>>,
}

impl Entry {
    /// What it was told before stays, unless it has to go at once now.
    fn tell(&self, stop: Stop) {
        self.stop.send_if_modified(|told| {
            let new = told.is_none() || matches!(stop, Stop::Abandon);
            if new {
                *told = Some(stop);
            }
            new
        });
    }
}

/// Why a run is ended from outside.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// Its record says so.
    Record(Failure),
    /// The same, but it may end by itself for a short while.
    Cancel(Failure),
    /// Its record stays open, to be handed back.
    Abandon,
}

/// Tells a run to stop.
pub(crate) struct Stopped(watch::Receiver<Option<Stop>>);

impl Stopped {
    /// Waits for the first order to stop.
    pub(crate) async fn told(&mut self) -> Stop {
        let told = self.0.wait_for(Option::is_some).await;
        match told.ok().and_then(|told| told.clone()) {
            Some(stop) => stop,
            // The list lives longer than its runs.
            None => std::future::pending().await,
        }
    }

    /// Whether it was told to stop already.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for the order to stop at once.
    pub(crate) async fn abandoned(&mut self) {
        let abandoned = |told: &Option<Stop>| matches!(told, Some(Stop::Abandon));
        let gone = self.0.wait_for(abandoned).await.is_err();
        if gone {
            std::future::pending().await
        }
    }
}

/// An entry in the list; leaving it is automatic.
pub(crate) struct Entered {
    running: Running,
    id: InvocationId,
}

impl Running {
    /// Enters a run; the receiver tells it to stop.
    pub(crate) fn enter(
        &self,
        id: InvocationId,
        executable: &Arc<Executable>,
    ) -> (Entered, Stopped) {
        let (stop, stopped) = watch::channel(None);
        let executable = Arc::clone(executable);
        let entry = Entry { executable, stop };
        let mut list = self.0.list.lock();
        if list.closed {
            entry.tell(Stop::Abandon);
        }
        list.runs.insert(id, entry);
        (
            Entered {
                running: self.clone(),
                id,
            },
            Stopped(stopped),
        )
    }

    /// Ends one run as cancelled, which may end by itself for a short while. Does nothing when it has
    /// ended.
    pub(crate) fn cancel(&self, id: InvocationId) {
        if let Some(entry) = self.0.list.lock().runs.get(&id) {
            let failure = Failure::new(FailureKind::Cancelled, "The result was no longer wanted");
            entry.tell(Stop::Cancel(failure));
        }
    }

    /// Ends the runs of a function that must run no more.
    pub(crate) fn cancel_function(&self, function: FunctionId, failure: &Failure) {
        for entry in self.0.list.lock().runs.values() {
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
            .values()
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

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.0.list.lock().runs.remove(&self.id);
        self.running.0.ended.notify_waiters();
    }
}
