//! Deletes what is over: now and then, a few rows at a time, with pauses for everybody else.
//!
//! What is over is [`tollgate_core::invocations::retention`]'s decision. This loop must never matter to a run:
//! whatever goes wrong here is logged and tried again at the next pass.

use crate::executor::{Executor, Shared};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ports::store::StoreError;
use tollgate_core::{idempotency, limits};

/// What one pass deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Invocation records.
    pub invocations: u64,
    /// Session and refresh tokens.
    pub tokens: u64,
    /// Keys of creating requests.
    pub idempotency_keys: u64,
    /// Files of versions that are not there.
    pub bundles: u64,
}

impl Executor {
    /// Deletes everything that is over now, without pauses.
    ///
    /// # Errors
    /// When the store fails; what was deleted before that stays deleted.
    pub async fn sweep(&self) -> Result<Pass, StoreError> {
        pass(&self.shared, Duration::ZERO).await
    }
}

/// Makes one pass after the other until the stop.
pub(crate) async fn work(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        failpoint::hit(Point::LoopRetention);
        match pass(&shared, limits::RETENTION_PAUSE).await {
            Ok(done) if done != Pass::default() => {
                tracing::info!(
                    invocations = done.invocations,
                    tokens = done.tokens,
                    idempotency_keys = done.idempotency_keys,
                    bundles = done.bundles,
                    "deleted what was over"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "could not delete what is over"),
        }
        if !shared.is_stopping() {
            rest(&shared, limits::RETENTION_INTERVAL).await;
        }
    }
}

/// Every kind of thing that is over, one after the other.
async fn pass(shared: &Shared, pause: Duration) -> Result<Pass, StoreError> {
    Ok(Pass {
        invocations: invocations(shared, pause).await?,
        tokens: tokens(shared, pause).await?,
        idempotency_keys: idempotency_keys(shared, pause).await?,
        bundles: bundles(shared, pause).await?,
    })
}

async fn invocations(shared: &Shared, pause: Duration) -> Result<u64, StoreError> {
    let retention = shared.config.retention;
    let now = shared.clock.now();
    let (mut deleted, mut after) = (0, None);
    while !shared.is_stopping() {
        let step = shared
            .system()
            .sweep_invocations(after, limits::RETENTION_BATCH, retention, now)
            .await?;
        deleted += step.deleted;
        if step.next.is_none() {
            break;
        }
        after = step.next;
        rest(shared, pause).await;
    }
    Ok(deleted)
}

async fn tokens(shared: &Shared, pause: Duration) -> Result<u64, StoreError> {
    let now = shared.clock.now();
    let system = shared.system();
    in_steps(shared, pause, || {
        system.sweep_tokens(limits::RETENTION_BATCH, now)
    })
    .await
}

async fn idempotency_keys(shared: &Shared, pause: Duration) -> Result<u64, StoreError> {
    let before = idempotency::expired_at(shared.clock.now());
    let system = shared.system();
    in_steps(shared, pause, || {
        system.forget_idempotency_keys(before, limits::RETENTION_BATCH)
    })
    .await
}

async fn bundles(shared: &Shared, pause: Duration) -> Result<u64, StoreError> {
    let before = shared.clock.now().minus(limits::BUNDLE_UNUSED);
    let system = shared.system();
    in_steps(shared, pause, || {
        system.sweep_bundles(limits::RETENTION_BATCH, before)
    })
    .await
}

/// One step after the other, each of a batch, until one finds less than that. Returns how much was deleted.
async fn in_steps<S: Future<Output = Result<u64, StoreError>>>(
    shared: &Shared,
    pause: Duration,
    mut step: impl FnMut() -> S,
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    while !shared.is_stopping() {
        let done = step().await?;
        deleted += done;
        if done < limits::RETENTION_BATCH as u64 {
            break;
        }
        rest(shared, pause).await;
    }
    Ok(deleted)
}

/// Waits, unless the stop comes first.
async fn rest(shared: &Shared, pause: Duration) {
    tokio::select! {
        () = shared.taking.stopped() => {}
        () = tokio::time::sleep(pause) => {}
    }
}
