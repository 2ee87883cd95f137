//! Starting a worker: from the order to a loaded module, and the watch on the end of its process.

use super::ledger::{Key, WorkerId};
use super::{Pool, StartFailure, Unbegun};
use crate::process::language::Language;
use crate::process::protocol::{Entry, Environment, First, Limits};
use crate::process::worker::{LoadError, Worker};
use crate::process::zygote::{Exit, ExitWatch};
use crate::process::{crash, node, out_of_memory};
use std::sync::Arc;
use tollgate_core::functions::{BundleRef, Executable, Source};
use tollgate_core::invocations::LogLine;
use tollgate_core::limits;
use tollgate_core::ports::runtime::LoadedVariables;
use tollgate_core::tasks::{Failure, FailureKind};
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
        // Goes last: first those who wait are told.
        let booked = Booked { pool, worker };
        let mut exit = None;
        match self.launch(&mut exit, worker, key, &executable).await {
            Ok(worker) => self.loaded(worker),
            Err(refused) => self.not_loaded(worker, &refused),
        }
        if let Some(exit) = exit {
            let follow = follow(booked, exit);
            self.supervisor().spawn_passing("worker", follow);
        }
    }

    /// One host after the other is asked. `exit` is that of the last process, if there was one.
    async fn launch(
        self: &Arc<Self>,
        exit: &mut Option<ExitWatch>,
        number: WorkerId,
        key: Key,
        executable: &Executable,
    ) -> Result<Worker, StartFailure> {
        let mut asked = 0;
        loop {
            asked += 1;
            let reason = match self.launch_once(exit, number, key, executable).await {
                Ok(worker) => return Ok(worker),
                Err(Unstarted::Refused(refused)) => return Err(refused),
                Err(Unstarted::Lost(reason)) => reason,
            };
            if asked >= limits::HOSTS_ASKED || self.books.lock().ledger.is_closed() {
                return Err(not_started(&reason));
            }
            tracing::warn!(worker.id = number, reason, "worker.started_again");
        }
    }

    /// The environment variables of an executable.
    async fn variables(&self, executable: &Executable) -> Result<LoadedVariables, StartFailure> {
        match self.loading.get() {
            Some(loading) => {
                let found = loading.variables(executable).await;
                found.map_err(StartFailure::from)
            }
            None if executable.in_force.variables.is_empty() => Ok(LoadedVariables::new()),
            None => Err(StartFailure::unavailable(
                "There is no platform here that could tell variables",
            )),
        }
    }

    async fn launch_once(
        self: &Arc<Self>,
        exit: &mut Option<ExitWatch>,
        number: WorkerId,
        key: Key,
        executable: &Executable,
    ) -> Result<Worker, Unstarted> {
        let started = self.clock.monotonic();
        let mut worker = self.given(exit, number, key, executable).await?;
        let host = self.loading.get().map(|loading| loading.host(executable));
        let load = worker.load(executable, self.config.outbound.as_ref(), host.as_deref());
        let fault = match tokio::time::timeout(self.config.load, load).await {
            Ok(Ok(pid)) => {
                let took = self.clock.monotonic().saturating_duration_since(started);
                tracing::debug!(
                    worker.id = worker.id,
                    worker.pid = pid,
                    site.id = key.site.0,
                    version.id = key.image.version.0,
                    start_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    "worker.started"
                );
                return Ok(worker);
            }
            Ok(Err(fault)) => Some(fault),
            Err(_) => None,
        };
        let unloaded = self.unloaded(&mut worker, fault, executable.memory_mb());
        let unloaded = unloaded.await;
        self.end(&worker, "not loaded");
        Err(unloaded)
    }

    /// A process that has been given the code, and what belongs to it.
    async fn given(
        &self,
        exit: &mut Option<ExitWatch>,
        number: WorkerId,
        key: Key,
        executable: &Executable,
    ) -> Result<Worker, Unstarted> {
        let Source::App {
            code,
            environment,
            bundle,
            ..
        } = &executable.source
        else {
            return Err(StartFailure::unavailable("This function has no code").into());
        };
        // Until the worker has them.
        let (_turn, files) = match bundle {
            Some(bundle) => {
                // It is never closed.
                let turn = self.giving.acquire().await.ok();
                (turn, self.files(executable, bundle).await?)
            }
            None => (None, Vec::new()),
        };
        let memory_mb = executable.memory_mb();
        // They are nowhere but in the worker once it has begun.
        let variables = self.variables(executable).await?;
        let first = First::Load {
            code,
            slug: &executable.function_slug,
            entry: Entry::of(&executable.source, &files),
            memory_mb,
            reserve_mb: limits::WORKER_RESERVE_BYTES >> 20,
            variables: variables
                .iter()
                .map(|(name, value)| (&**name, &***value))
                .collect(),
            env: Box::new(Environment::of(executable)),
            limits: Limits::of_engine(),
        };
        let of_unbegun = |unbegun| of_unbegun(unbegun, memory_mb);
        let whose = (key.site, Language::of(*environment));
        let ordered = self.order(whose, number, memory_mb).await;
        let worker = ordered.map_err(of_unbegun)?;
        *exit = Some(worker.exit.clone());
        let begun = self.begin(worker, &first, &files).await;
        begun.map_err(of_unbegun)
    }

    /// Why code is not loaded; without a `fault` it took too long.
    async fn unloaded(
        &self,
        worker: &mut Worker,
        fault: Option<LoadError>,
        memory_mb: u32,
    ) -> Unstarted {
        match fault {
            Some(LoadError::Refused(failure, logs)) => StartFailure { failure, logs }.into(),
            Some(LoadError::Broken(error)) => {
                let unbegun = Unbegun::after(worker).await;
                tracing::debug!(worker.id = worker.id, %error, ?unbegun, "worker.broken");
                let mut logs = worker.journal().read();
                let unbegun = match unbegun {
                    Unbegun::Ended(exit) => Unbegun::Ended(node::heap_is_full(exit, &mut logs)),
                    other => other,
                };
                of_unbegun(unbegun, memory_mb).with_logs(logs)
            }
            None => {
                let message = format!(
                    "The module's top level ran longer than the limit of {} and was stopped",
                    span(self.config.load)
                );
                let failure = Failure::new(FailureKind::Load, message);
                let logs = worker.journal().read();
                StartFailure { failure, logs }.into()
            }
        }
    }

    /// The files of a version that has more than one.
    async fn files(
        &self,
        executable: &Executable,
        bundle: &BundleRef,
    ) -> Result<Vec<u8>, StartFailure> {
        let Some(loading) = self.loading.get() else {
            let message = "No platform stands behind this runtime, which would have the files";
            return Err(StartFailure::unavailable(message));
        };
        let found = loading.files(executable, bundle).await;
        found.map_err(StartFailure::from)
    }
}

/// Why a start came to nothing.
enum Unstarted {
    /// Whoever waits is told.
    Refused(StartFailure),
    /// The host was lost or stuck: another one is asked.
    Lost(String),
}

impl From<StartFailure> for Unstarted {
    fn from(refused: StartFailure) -> Self {
        Self::Refused(refused)
    }
}

impl Unstarted {
    fn with_logs(mut self, logs: Vec<LogLine>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.logs = logs;
        }
        self
    }
}

fn not_started(reason: &str) -> StartFailure {
    StartFailure::unavailable(format!(
        "No worker could be started: {reason}; see `tollgate doctor`"
    ))
}

fn of_unbegun(unbegun: Unbegun, memory_mb: u32) -> Unstarted {
    match unbegun {
        Unbegun::Lost(reason) => Unstarted::Lost(reason),
        Unbegun::NoHost(reason) => not_started(&reason).into(),
        Unbegun::Ended(exit) => StartFailure::from(died_loading(exit, memory_mb)).into(),
    }
}

/// Holds a worker's place until it has ended, then takes it off the books.
async fn follow(booked: Booked, mut exit: ExitWatch) {
    // An error means that the zygote is gone, and its workers with it.
    let _ = exit.wait_for(Option::is_some).await;
    drop(booked);
}

fn died_loading(exit: Option<Exit>, memory_mb: u32) -> Failure {
    match exit {
        Some(Exit::OutOfMemory(beyond)) => out_of_memory(beyond, memory_mb, " while it loaded"),
        Some(Exit::NotStarted(reason)) => Failure::new(
            FailureKind::Unavailable,
            format!("No worker could be started: {reason}"),
        ),
        exit => crash(exit.as_ref(), "while it loaded the code", FailureKind::Load),
    }
}
