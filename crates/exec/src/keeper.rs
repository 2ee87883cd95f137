//! Gives the sign of life of this process, takes over from those that give none, and finds what
//! this one has lost sight of. So no run stays "running" without somebody who runs it.

use crate::executor::Shared;
use std::collections::HashSet;
use std::sync::Arc;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::InvocationId;
use tollgate_core::ports::store::{Recovered, StoreError};

/// Signs of life in the time of one lease.
const BEATS_PER_LEASE: u32 = 3;
/// Beats between two looks for what was lost sight of.
const LOOK_EVERY: u32 = 4;

/// Beats until the stop.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut suspects = HashSet::new();
    let mut beats = 0_u32;
    loop {
        tokio::select! {
            () = shared.keeping.stopped() => return,
            () = tokio::time::sleep(shared.config.lease / BEATS_PER_LEASE) => {}
        }
        failpoint::hit(Point::LoopKeeper);
        if let Err(error) = beat(&shared).await {
            tracing::warn!(%error, "the store is away; this worker's lease was not renewed");
            continue;
        }
        beats = beats.wrapping_add(1);
        if beats.is_multiple_of(LOOK_EVERY) {
            suspects = look(&shared, suspects).await.unwrap_or_default();
        }
    }
}

/// Renews the lease first: after a long pause of the whole process its own runs are not taken away.
pub(crate) async fn beat(shared: &Shared) -> Result<Recovered, StoreError> {
    let system = shared.system();
    system
        .heartbeat(&shared.holder, shared.config.lease)
        .await?;
    let rescued = system.rescue().await?;
    if !rescued.is_empty() {
        tracing::warn!(
            requeued = rescued.requeued,
            cancelled = rescued.cancelled,
            dead = rescued.dead,
            "took over from a worker that gives no sign of life"
        );
        shared.wake.notify_one();
    }
    Ok(rescued)
}

/// Queues again what stands in the store under this holder's name and in nobody's hands, if it did
/// so at the last look already: between a commit and its signal there is a moment.
pub(crate) async fn look(
    shared: &Shared,
    suspects: HashSet<(InvocationId, u32)>,
) -> Result<HashSet<(InvocationId, u32)>, StoreError> {
    let system = shared.system();
    let mut unknown = system.held(&shared.holder).await?;
    unknown.retain(|(id, _)| !shared.holdings.knows(*id));
    let (lost, new): (Vec<_>, Vec<_>) = unknown
        .into_iter()
        .partition(|(id, hold)| suspects.contains(&(*id, hold.fence)));
    if !lost.is_empty() {
        let found = system.requeue(lost).await?;
        tracing::error!(
            requeued = found.requeued,
            dead = found.dead,
            "runs that nobody had in hand are queued again"
        );
        shared.wake.notify_one();
    }
    Ok(new.into_iter().map(|(id, hold)| (id, hold.fence)).collect())
}
