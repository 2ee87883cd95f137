//! Records how queued runs ended, many per write.
//!
//! Must never lose a result that it was given: while the store is away it keeps trying, and the room that each
//! result still holds keeps the memory bounded. The way here has a place for every one of them.

use crate::executor::Shared;
use crate::held::Held;
use crate::turns::Room;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::invocations::{Completion, Started};
use tollgate_core::limits;
use tollgate_core::ports::store::StoreError;
use tollgate_core::tasks::State;

/// Waiting between two tries while the store is away: first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Something to be written.
pub(crate) enum Record {
    /// An attempt lasts long enough to be shown.
    Started(Started),
    /// An attempt ended.
    Finished {
        completion: Box<Completion>,
        /// Given back once the result is on disk.
        _room: Room,
        /// The same.
        _held: Held,
    },
    /// Answers when everything before it is on disk.
    Flush(oneshot::Sender<()>),
}

/// The way to the recorder.
pub(crate) struct Recorder(mpsc::Sender<Record>);

impl Recorder {
    /// With places for the results of as many runs as are held in memory.
    pub(crate) fn new(in_memory: usize) -> (Self, mpsc::Receiver<Record>) {
        let (sender, inbox) = mpsc::channel(in_memory.max(1));
        (Self(sender), inbox)
    }

    /// Hands a record over, as soon as there is a place for it. Dropped before that, it hands nothing over.
    pub(crate) async fn send(&self, record: Record) {
        // Fails only after the stop, when the row has been handed back.
        let _ = self.0.send(record).await;
    }

    /// Waits until everything sent before is on disk. Returns at once when nothing records.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.0.send(Record::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

/// Writes what comes in, as much at once as has gathered meanwhile.
pub(crate) async fn work(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Record>) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = shared.keeping.stopped() => return,
            _ = inbox.recv_many(&mut batch, limits::COMPLETION_BATCH) => {}
        }
        failpoint::hit(Point::LoopRecorder);
        write(&shared, std::mem::take(&mut batch)).await;
    }
}

async fn write(shared: &Shared, batch: Vec<Record>) {
    let mut begun = Vec::new();
    let mut ended = Vec::with_capacity(batch.len());
    let mut kept = Vec::with_capacity(batch.len());
    let mut flushed = Vec::new();
    for record in batch {
        match record {
            Record::Started(started) => begun.push(started),
            Record::Finished {
                completion,
                _room,
                _held,
            } => {
                ended.push(*completion);
                kept.push((_room, _held));
            }
            Record::Flush(done) => flushed.push(done),
        }
    }
    begun.retain(|started| !ended.iter().any(|completion| completion.id == started.id));
    if !begun.is_empty()
        && let Err(error) = show(shared, begun).await
    {
        // Only a display is missing; the runs go on.
        tracing::warn!(%error, "could not show runs as running");
    }
    if !ended.is_empty() {
        complete(shared, ended).await;
    }
    drop(kept);
    for done in flushed {
        let _ = done.send(());
    }
}

/// Shows runs as running.
pub(crate) async fn show(shared: &Shared, begun: Vec<Started>) -> Result<(), StoreError> {
    let changes: Vec<_> = begun.iter().map(Started::change).collect();
    shared.system().started(begun).await?;
    if let Some(coordinator) = shared.coordinator() {
        changes
            .into_iter()
            .for_each(|change| coordinator.announce(change));
    }
    Ok(())
}

async fn complete(shared: &Shared, ended: Vec<Completion>) {
    let changes: Vec<_> = ended.iter().map(Completion::change).collect();
    let mut wait = RETRY_FIRST;
    failpoint::hit(Point::ResultBefore);
    let written = loop {
        match shared.system().complete(ended.clone()).await {
            Ok(written) => break written,
            Err(StoreError::Unavailable(error)) => {
                tracing::warn!(%error, results = ended.len(), "the store is away; trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    // It was waited for long enough: the next start runs them again.
                    () = shared.keeping.stopped() => return,
                }
                wait = (wait * 2).min(RETRY_LAST);
            }
            Err(error) if ended.len() > 1 => {
                // One of them is at fault: the others must not suffer for it.
                tracing::error!(%error, results = ended.len(), "recording results one by one");
                for completion in ended {
                    Box::pin(complete(shared, vec![completion])).await;
                }
                return;
            }
            Err(error) => {
                // A bug or damaged data: repeating cannot help. The keeper finds the row in
                // nobody's hands, and it runs again.
                tracing::error!(%error, "a result could not be recorded");
                return;
            }
        }
    };
    failpoint::hit(Point::ResultAfter);
    let mut retry = false;
    for (change, written) in changes.into_iter().zip(written) {
        if !written {
            tracing::warn!(invocation.id = change.id.0, "a late result was refused");
            continue;
        }
        retry |= change.state == State::Retrying;
        if let Some(coordinator) = shared.coordinator() {
            coordinator.announce(change);
        }
    }
    if retry {
        shared.wake.notify_one();
    }
}
