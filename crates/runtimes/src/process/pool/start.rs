//! Starting a worker: from the order to a loaded module, and the watch on the end of its process.

use super::ledger::{Key, WorkerId};
use super::{Pool, StartFailure};
use crate::process::protocol::{Environment, First, Limits};
use crate::process::worker::{LoadError, Worker};
use crate::process::zygote::{Exit, ExitWatch};
use crate::process::{crash, out_of_memory};
use std::sync::Arc;
use tollgate_core::function::{Executable, Source};
use tollgate_core::invocation::{Failure, FailureKind};
use tollgate_core::limits;
use tollgate_core::text::span;

/// Keeps one process in the books until it is known to have ended.
struct Booked {
    pool: Arc<Pool>,
    worker: WorkerId,
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.pool.exited(self.worker);
    }
}

impl Pool {
    /// Starts and loads one worker, and hands it over or reports why not.
    pub(super) async fn start_worker(
        self: Arc<Self>,
        worker: WorkerId,
        key: Key,
        executable: Arc<Executable>,
    ) {
        let pool = Arc::clone(&self);
        // Unless there is a process to follow, it goes last: first those who wait are told.
        let mut booked = Some(Booked { pool, worker });
        match self.launch(&mut booked, worker, key, &executable).await {
            Ok(worker) => self.loaded(worker),
            Err(refused) => self.not_loaded(worker, &refused),
        }
    }

    async fn launch(
        self: &Arc<Self>,
        booked: &mut Option<Booked>,
        number: WorkerId,
        key: Key,
        executable: &Executable,
    ) -> Result<Worker, StartFailure> {
        let Source::App { code, .. } = &executable.source else {
            return Err(StartFailure::unavailable("This is not a Python function"));
        };
        let started = self.clock.monotonic();
        let broken = |reason: String| {
            StartFailure::unavailable(format!(
                "No Python worker could be started: {reason}; see `tollgate doctor`"
            ))
        };
        let zygote = self.keeper.get(key.site).await.map_err(broken)?;
        let mut worker = Worker::start(zygote, number, executable.memory_mb())
            .map_err(|error| broken(error.to_string()))?;
        let follow = follow(booked.take(), worker.exit.clone());
        self.runtime
            .spawn(self.supervisor().watch_passing("worker", follow));
        let first = First::Load {
            code,
            slug: &executable.function_slug,
            memory_mb: executable.memory_mb(),
            reserve_mb: limits::WORKER_RESERVE_BYTES >> 20,
            env: Environment::of(executable),
            limits: Limits::of_engine(),
        };
        let load = worker.load(&first, executable, self.config.outbound.as_ref());
        let loaded = tokio::time::timeout(self.config.load, load).await;
        let refused = match loaded {
            Ok(Ok(pid)) => {
                let took = self.clock.monotonic().saturating_duration_since(started);
                tracing::debug!(
                    worker.id = worker.id,
                    worker.pid = pid,
                    site.id = key.site.0,
                    version.id = key.version.0,
                    start_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    "worker.started"
                );
                return Ok(worker);
            }
            Ok(Err(LoadError::Refused(failure, logs))) => StartFailure { failure, logs },
            Ok(Err(LoadError::Broken(error))) => {
                let (exit, logs) = (worker.ended().await, worker.journal().read());
                tracing::debug!(worker.id = worker.id, %error, ?exit, "worker.broken");
                StartFailure {
                    failure: died_loading(exit, executable.memory_mb()),
                    logs,
                }
            }
            Err(_) => {
                let message = format!(
                    "The module's top level ran longer than the limit of {} and was stopped",
                    span(self.config.load)
                );
                let failure = Failure::new(FailureKind::Load, message);
                StartFailure {
                    failure,
                    logs: worker.journal().read(),
                }
            }
        };
        self.end(&worker, "not loaded");
        Err(refused)
    }
}

/// Holds a worker's place until it has ended, then takes it off the books.
async fn follow(booked: Option<Booked>, mut exit: ExitWatch) {
    // An error means that the zygote is gone, and its workers with it.
    let _ = exit.wait_for(Option::is_some).await;
    drop(booked);
}

fn died_loading(exit: Option<Exit>, memory_mb: u32) -> Failure {
    match exit {
        Some(Exit::OutOfMemory(beyond)) => out_of_memory(beyond, memory_mb, " while it loaded"),
        Some(Exit::NotStarted(reason)) => Failure::new(
            FailureKind::Unavailable,
            format!("No Python worker could be started: {reason}"),
        ),
        Some(Exit::ZygoteGone) => Failure::new(
            FailureKind::Unavailable,
            "No Python worker could be started: the Python host ended",
        ),
        exit => crash(exit.as_ref(), "while it loaded the code", FailureKind::Load),
    }
}
