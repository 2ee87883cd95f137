//! Claims rows that nobody holds: what did not fit into memory, what is due again, and what an
//! earlier process left.

use crate::executor::Shared;
use crate::queue::{Queued, complete, unrun};
use crate::recorder::Record;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::time::Timestamp;

/// Looks whenever there is a reason to, and now and then without one.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        if shared.is_stopping() {
            return;
        }
        let Some(coordinator) = shared.coordinator() else {
            return;
        };
        pause = match claim_all(&shared, &*coordinator).await {
            Some(due) => due.since(shared.clock.now()).min(shared.config.poll),
            None => shared.config.poll,
        };
    }
}

/// Claims batch after batch until nothing is due; tells when the next row will be.
async fn claim_all(shared: &Shared, coordinator: &dyn Coordinator) -> Option<Timestamp> {
    let batch = limits::CLAIM_BATCH.min(shared.config.in_memory);
    let permits = u32::try_from(batch).unwrap_or(1);
    loop {
        // Waits here while memory is full; rows keep their order in the store meanwhile.
        let mut room = shared.queue.room_for(permits).await?;
        if shared.is_stopping() {
            return None;
        }
        let claimed = shared
            .system()
            .claim(&shared.holder, batch, shared.clock.now())
            .await;
        let (claimed, next_due) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "could not claim work");
                return None;
            }
        };
        let count = claimed.len();
        for row in claimed {
            let Some(room) = room.split(1) else { break };
            match coordinator.resolve(&row).await {
                Ok(run) => shared.queue.push(Queued {
                    run,
                    room,
                    shown: true,
                }),
                Err(failure) => {
                    let finished = unrun(shared, failure);
                    let completion = complete(shared, &row.invocation, row.attempt, finished);
                    let completion = Box::new(completion);
                    shared.recorder.send(Record::Finished {
                        completion,
                        _room: room,
                    });
                }
            }
        }
        if count < batch {
            return next_due;
        }
    }
}
