//! The loop that runs what is queued, as the turns come.

use crate::attempt::{Entry, attempt};
use crate::executor::Shared;
use crate::recorder::{self, Record};
use crate::running::Stopped;
use crate::turns::{Queued, Slot};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::engine::completion;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::invocations::{Completion, NewInvocation, Started};
use tollgate_core::ports::dispatch::{FinishedRun, Taken, TaskRun};
use tollgate_core::ports::runtime::{RunReport, Runtime};
use tollgate_core::tasks::{Failure, FailureKind};

/// A run that lasts longer than this is shown as running; shorter ones spare the write.
const SHOWN_AFTER: Duration = Duration::from_millis(20);

/// Runs what is queued, as many at once as there are slots.
pub(crate) async fn work(shared: Arc<Shared>) {
    loop {
        let (queued, slot) = tokio::select! {
            biased;
            () = shared.taking.stopped() => return,
            next = shared.turns.next() => next,
        };
        failpoint::hit(Point::LoopQueue);
        let of_run = Arc::clone(&shared);
        let run = async move { run(&of_run, queued, &slot).await };
        // As many as there are slots. One that panics gives its slot back, and the keeper finds its row.
        drop(shared.runs.carry("run", run));
    }
}

async fn run(shared: &Shared, queued: Queued, slot: &Slot) {
    let Queued { run, room, held } = queued;
    let mut invocation = run.invocation.clone();
    let taken = run.taken.clone();
    let (entered, told) = shared.running.enter(invocation.id, &run.executable);
    if told.is_stopped() {
        // The server has stopped before it began, so that it goes back as it was.
        return;
    }
    // After entering: a deletion from here on finds the run in the list.
    let begun = begin(shared, run).await;
    let finished = match begun {
        Ok((run, runtime)) => {
            // What this attempt runs is what its record names.
            invocation = run.invocation.clone();
            under_way(shared, run, runtime, slot, told).await
        }
        Err(failure) => unrun(shared, failure),
    };
    let completion = complete(shared, &invocation, &taken, finished);
    let ended = Record::Finished {
        completion: Box::new(completion),
        _room: room,
        _held: held,
    };
    shared.recorder.send(ended).await;
    // After the record is on its way, so that a stop waits for it.
    drop(entered);
}

/// Finds what runs now, and who runs it.
async fn begin(shared: &Shared, run: TaskRun) -> Result<(TaskRun, Arc<dyn Runtime>), Failure> {
    let run = match shared.coordinator() {
        Some(coordinator) => coordinator.begin(run).await?,
        None => run,
    };
    let runtime = Arc::clone(shared.runtimes.of(&run.executable.source)?);
    Ok((run, runtime))
}

/// The attempt itself.
async fn under_way(
    shared: &Shared,
    run: TaskRun,
    runtime: Arc<dyn Runtime>,
    slot: &Slot,
    told: Stopped,
) -> FinishedRun {
    let started = started(shared, &run, None);
    if run.taken.was_interrupted() {
        if let Err(failure) = note_start(shared, &started).await {
            return unrun(shared, failure);
        }
        return attempt(shared, runtime, run, Entry::Slot(slot), told).await;
    }
    let attempt = attempt(shared, runtime, run, Entry::Slot(slot), told);
    shown_if_long(shared, started, attempt).await
}

/// The beginning of an attempt; `born`, if its record is not on disk yet.
pub(crate) fn started(shared: &Shared, run: &TaskRun, born: Option<Arc<NewInvocation>>) -> Started {
    Started {
        site_id: run.invocation.site_id,
        id: run.invocation.id,
        born,
        hold: run.taken.hold.clone(),
        version_id: run.invocation.version_id,
        version: run.invocation.version,
        started_at: shared.clock.now(),
    }
}

/// Waits for an attempt. A long one is shown as running.
pub(crate) async fn shown_if_long(
    shared: &Shared,
    started: Started,
    attempt: impl Future<Output = FinishedRun>,
) -> FinishedRun {
    tokio::pin!(attempt);
    match tokio::time::timeout(SHOWN_AFTER, &mut attempt).await {
        Ok(finished) => finished,
        Err(_) => tokio::select! {
            // It ended while there was no place for the news that it had begun.
            finished = &mut attempt => finished,
            () = shared.recorder.send(Record::Started(started)) => attempt.await,
        },
    }
}

/// A run that came back once may be what takes workers down, however short it is: from then on each
/// of its starts is on disk before it begins, so that losses can be counted.
async fn note_start(shared: &Shared, started: &Started) -> Result<(), Failure> {
    let noted = recorder::show(shared, vec![started.clone()]).await;
    noted.map_err(|error| {
        let message = format!("The start of this run could not be recorded: {error}");
        Failure::new(FailureKind::Unavailable, message)
    })
}

/// The completion of a queued run, with jitter for a further attempt.
pub(crate) fn complete(
    shared: &Shared,
    invocation: &NewInvocation,
    taken: &Taken,
    finished: FinishedRun,
) -> Completion {
    completion(invocation, taken, finished, shared.entropy.below(u64::MAX))
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
