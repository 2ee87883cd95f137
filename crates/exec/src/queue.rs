//! Queued runs in memory: room for them, and the loop that runs them in order.

use crate::attempt::attempt;
use crate::executor::Shared;
use crate::recorder::Record;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tollgate_core::engine::{GONE, completion};
use tollgate_core::invocation::{Completion, Failure, FailureKind, NewInvocation, Started};
use tollgate_core::ports::dispatch::{FinishedRun, Reservation, TaskRun};
use tollgate_core::ports::runtime::RunReport;

/// A run that lasts longer than this is shown as running; shorter ones spare the write.
const SHOWN_AFTER: Duration = Duration::from_millis(20);

/// A run with its room in memory.
pub(crate) struct Queued {
    pub(crate) run: TaskRun,
    pub(crate) room: OwnedSemaphorePermit,
    /// Its record already says "running".
    pub(crate) shown: bool,
}

/// The way into the queue.
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Queued>,
    /// Bounds the channel: every entry holds a permit.
    room: Arc<Semaphore>,
}

/// Room for a number of runs.
pub(crate) struct Room {
    permits: Option<OwnedSemaphorePermit>,
    sender: mpsc::UnboundedSender<Queued>,
}

impl Queue {
    pub(crate) fn new(sender: mpsc::UnboundedSender<Queued>, room: usize) -> Self {
        Self {
            sender,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// Room for at most `count` runs, as much as there is.
    pub(crate) fn reserve(&self, count: usize) -> Room {
        let wanted = u32::try_from(count.min(self.room.available_permits())).unwrap_or(u32::MAX);
        let permits = match wanted {
            0 => None,
            // Someone else may have been faster; then the rows simply wait in the store.
            wanted => Arc::clone(&self.room).try_acquire_many_owned(wanted).ok(),
        };
        Room {
            permits,
            sender: self.sender.clone(),
        }
    }

    /// Waits for room for `count` runs.
    pub(crate) async fn room_for(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_many_owned(count).await.ok()
    }

    pub(crate) fn push(&self, queued: Queued) {
        // Fails only after the loop has ended, when the row is handed back anyway.
        let _ = self.sender.send(queued);
    }
}

impl Reservation for Room {
    fn granted(&self) -> usize {
        self.permits
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn submit(mut self: Box<Self>, runs: Vec<TaskRun>) {
        for run in runs {
            let Some(room) = self.permits.as_mut().and_then(|permits| permits.split(1)) else {
                return;
            };
            let _ = self.sender.send(Queued {
                run,
                room,
                shown: false,
            });
        }
    }
}

/// Runs what is queued, in order, as many at once as there are `slots`.
pub(crate) async fn work(
    shared: Arc<Shared>,
    mut inbox: mpsc::UnboundedReceiver<Queued>,
    slots: Arc<Semaphore>,
) {
    while let Some(queued) = inbox.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        if shared.is_stopping() {
            return;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            run(&shared, queued).await;
            drop(slot);
        });
    }
}

async fn run(shared: &Shared, queued: Queued) {
    let Queued { run, room, shown } = queued;
    let invocation = run.invocation.clone();
    let number = run.attempt;
    let (place, stopped) = shared.running.enter(invocation.id, invocation.function_id);
    // After entering: a deletion from here on finds the run in the list.
    let runtime = match may_run(shared, &invocation).await {
        true => shared.runtimes.of(&run.executable.source),
        false => Err(Failure::new(FailureKind::Deleted, GONE)),
    };
    let finished = match runtime {
        Ok(runtime) => {
            let started = Started {
                site_id: invocation.site_id,
                id: invocation.id,
                attempt: number,
                started_at: shared.clock.now(),
            };
            let attempt = attempt(shared, Arc::clone(runtime), run, stopped);
            tokio::pin!(attempt);
            match tokio::time::timeout(SHOWN_AFTER, &mut attempt).await {
                Ok(finished) => finished,
                Err(_) => {
                    if !shown {
                        shared.recorder.send(Record::Started(started));
                    }
                    attempt.await
                }
            }
        }
        Err(failure) => Some(unrun(shared, failure)),
    };
    if let Some(finished) = finished {
        let completion = complete(shared, &invocation, number, finished);
        shared.recorder.send(Record::Finished {
            completion: Box::new(completion),
            _room: room,
        });
    }
    // After the record is on its way, so that a stop waits for it.
    drop(place);
}

async fn may_run(shared: &Shared, invocation: &NewInvocation) -> bool {
    match shared.coordinator() {
        Some(coordinator) => {
            coordinator
                .may_run(invocation.site_id, invocation.version_id)
                .await
        }
        None => true,
    }
}

/// The completion of a queued run, with jitter for a further attempt.
pub(crate) fn complete(
    shared: &Shared,
    invocation: &NewInvocation,
    attempt: u32,
    finished: FinishedRun,
) -> Completion {
    completion(
        invocation,
        attempt,
        finished,
        shared.entropy.below(u64::MAX),
    )
}

/// The end of a run that never reached a runtime.
pub(crate) fn unrun(shared: &Shared, failure: Failure) -> FinishedRun {
    let now = shared.clock.now();
    FinishedRun {
        report: RunReport::failed(failure),
        started_at: now,
        finished_at: now,
    }
}
