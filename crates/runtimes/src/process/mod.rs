//! Functions in processes of their own: the runtime itself, over pool, worker, zygote and launcher.
//!
//! Must never run or even parse user code in this process: a syntax check happens in a process
//! that is thrown away.

mod answers;
mod claim;
mod config;
mod files;
mod frames;
mod groups;
mod journal;
mod language;
mod launcher;
mod node;
mod pool;
mod protocol;
mod rest;
mod scratch;
mod watchdog;
mod weight;
mod worker;
mod zygote;

pub use config::{DiscoverError, Interpreter, ProcessConfig};
pub use language::Language;
pub use launcher::{LAUNCH_ARG, LauncherSpec, launch_if_asked, launcher_main};

use self::pool::{Lease, Pool, Refused, Unbegun};
use self::protocol::{Checked, Entry, First, Fitness};
use self::worker::Answer;
use self::zygote::{Beyond, Exit};
use crate::outbound::Outbound;
use async_trait::async_trait;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tollgate_core::confinement::Confinement;
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CodeError, Executable, Image, Source};
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, CheckError, Loading, RunReport, Runtime};
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::text::span;
use tollgate_core::time::Clock;

/// Exit status with which the host says that it ran out of memory while it had to answer.
const EXIT_OUT_OF_MEMORY: i32 = 86;
/// How long warming up waits for a place among the workers, beside the limit for loading.
const WARM_WAIT: Duration = Duration::from_secs(5);
/// Checks at the same time; each is a process.
const CHECKS_AT_ONCE: usize = 2;

/// Runs functions in worker processes.
///
/// Dropping it ends all processes in the background; [`Self::shutdown`] waits for that.
pub struct ProcessRuntime {
    pool: Arc<Pool>,
    outbound: Option<Outbound>,
    clock: Arc<dyn Clock>,
    checks: Semaphore,
    check_limit: Duration,
    warm_limit: Duration,
}

/// Why the runtime cannot start at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was started outside a tokio runtime.
    #[error("the runtime must be started inside a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The folder in which functions run cannot be made.
    #[error("cannot create the scratch folder {}: {source}", path.display())]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ProcessRuntime {
    /// Starts the runtime. Its first process starts in the background.
    ///
    /// # Errors
    /// [`StartError`]. An interpreter that does not start shows in [`Runtime::health`].
    pub fn start(config: ProcessConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let runtime = Handle::try_current()?;
        std::fs::create_dir_all(&config.scratch_dir).map_err(|source| StartError::Scratch {
            path: config.scratch_dir.clone(),
            source,
        })?;
        let check_limit = config.check;
        let warm_limit = config.load + WARM_WAIT;
        let outbound = config.outbound.clone();
        let pool = Pool::new(config, Arc::clone(&clock), runtime.clone());
        // Its outcome is kept for `health`. Another language's begins when it is wanted.
        if let Ok(keeper) = pool.keeper(Language::Python) {
            let warming = Arc::clone(keeper);
            let warm = async move { drop(warming.ready().await) };
            pool.supervisor().spawn_passing("warming", warm);
        }
        Ok(Arc::new(Self {
            pool,
            outbound,
            clock,
            checks: Semaphore::new(CHECKS_AT_ONCE),
            check_limit,
            warm_limit,
        }))
    }

    /// Kills all workers and everything they started, and waits until they are gone.
    pub async fn shutdown(&self) {
        self.pool.close().await;
    }

    /// Waits until a host of this language runs, and tells how function code is confined.
    ///
    /// # Errors
    /// Why it cannot start, for the operator.
    pub async fn ready(&self, language: Language) -> Result<Confinement, String> {
        self.pool.keeper(language)?.ready().await
    }

    /// Runs `call` on `lease`'s worker for at most `allotted`.
    async fn run_on(&self, mut lease: Lease, call: &Call, allotted: Duration) -> RunReport {
        let worker = lease.begin();
        let name = worker.name();
        let journal = worker.journal();
        call.remains.leave(name.clone(), move || journal.read());
        let outcome = tokio::select! {
            biased;
            outcome = worker.call(call, self.outbound.as_ref(), allotted) => Some(outcome),
            () = tokio::time::sleep(allotted) => None,
        };
        match outcome {
            Some(Ok(answer)) => {
                let fitness = fitness_after(&answer);
                let Answer { result, logs, .. } = answer;
                lease.finish(&fitness);
                RunReport {
                    result,
                    logs,
                    worker: name,
                }
            }
            Some(Err(error)) => {
                let broke_protocol = error.kind() == io::ErrorKind::InvalidData;
                let Some(mut worker) = lease.kill("broken") else {
                    return RunReport::failed(crash(None, "during the run", FailureKind::Crashed));
                };
                let exit = worker.ended().await;
                let mut logs = worker.journal().read();
                let exit = node::heap_is_full(exit, &mut logs);
                tracing::debug!(worker.id = worker.id, %error, ?exit, "worker.broken");
                let failure = match exit {
                    Some(Exit::Signal(9)) if broke_protocol => Failure::new(
                        FailureKind::Crashed,
                        "The worker sent what is no answer, and was killed",
                    ),
                    Some(Exit::OutOfMemory(beyond)) => {
                        out_of_memory(beyond, call.executable.memory_mb(), "")
                    }
                    exit => crash(exit.as_ref(), "during the run", FailureKind::Crashed),
                };
                RunReport {
                    result: Err(failure),
                    logs,
                    worker: name,
                }
            }
            None => {
                let failure = too_long(&call.executable, allotted);
                let Some(mut worker) = lease.kill("deadline") else {
                    return RunReport::failed(failure);
                };
                // So that it no longer runs when its end is reported.
                worker.ended().await;
                RunReport {
                    result: Err(failure),
                    logs: worker.journal().read(),
                    worker: name,
                }
            }
        }
    }

    /// One host after the other is asked.
    async fn checked(
        &self,
        whose: (SiteId, Language),
        code: &str,
        function: &str,
    ) -> Result<Checked, CheckError> {
        let unavailable = |reason: String| {
            CheckError::Unavailable(format!(
                "The code could not be checked: {reason}; see `tollgate doctor`"
            ))
        };
        let _turn = self
            .checks
            .acquire()
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let mut asked = 0;
        loop {
            asked += 1;
            let lost = match self.checked_once(whose, code, function).await {
                Ok(checked) => return Ok(checked),
                Err(Unbegun::Lost(reason)) => reason,
                Err(Unbegun::NoHost(reason) | Unbegun::Ended(Some(Exit::NotStarted(reason)))) => {
                    return Err(unavailable(reason));
                }
                Err(Unbegun::Ended(exit)) => {
                    let ended = crash(exit.as_ref(), "before it began", FailureKind::Load);
                    return Err(unavailable(ended.message));
                }
            };
            if asked >= limits::HOSTS_ASKED {
                return Err(unavailable(lost));
            }
            tracing::warn!(reason = lost, "code.checked_again");
        }
    }

    async fn checked_once(
        &self,
        whose: (SiteId, Language),
        code: &str,
        function: &str,
    ) -> Result<Checked, Unbegun> {
        let first = First::Check {
            code,
            function,
            memory_mb: limits::MEMORY_MB_DEFAULT,
            reserve_mb: limits::WORKER_RESERVE_BYTES >> 20,
        };
        let mut worker = self.pool.checker(whose, &first).await?;
        let wrong = |message: String| Checked {
            message: Some(message),
            ..Checked::default()
        };
        match tokio::time::timeout(self.check_limit, worker.check()).await {
            Ok(Ok(checked)) => Ok(checked),
            Ok(Err(_)) => match Unbegun::after(&mut worker).await {
                // It went down over the code.
                Unbegun::Ended(Some(_)) => Ok(wrong(
                    "The code is nested too deeply, or too large, to compile".to_owned(),
                )),
                Unbegun::Ended(None) => Err(Unbegun::Lost("its worker was lost".to_owned())),
                lost => Err(lost),
            },
            Err(_) => Ok(wrong(format!(
                "The code took longer than {} to compile",
                span(self.check_limit)
            ))),
        }
    }
}

impl Drop for ProcessRuntime {
    fn drop(&mut self) {
        self.pool.abandon();
    }
}

/// A worker that was killed for want of memory.
fn out_of_memory(beyond: Beyond, memory_mb: u32, when: &str) -> Failure {
    let message = match beyond {
        Beyond::Own => format!(
            "The function needed more than its {memory_mb} MiB of memory{when} and was stopped; raise \
             memory_mb"
        ),
        Beyond::Together => format!(
            "All functions together needed more memory than they may have, and this one was \
             stopped{when}"
        ),
    };
    Failure::new(FailureKind::Limit, message)
}

/// Whether a worker that answered may serve another call: what used up a limit may still hold it.
fn fitness_after(answer: &Answer) -> Fitness {
    match &answer.result {
        Err(failure) if failure.kind == FailureKind::Limit => {
            Fitness::Unfit("it reached a limit".to_owned())
        }
        _ => answer.fitness.clone(),
    }
}

/// What is said when nobody was granted a worker.
fn none_in_time(patience: Duration, full: impl std::fmt::Display) -> String {
    format!(
        "No worker was free or ready within {}: {full}",
        span(patience)
    )
}

/// A worker that ended without an answer.
fn crash(exit: Option<&Exit>, when: &str, kind: FailureKind) -> Failure {
    let how = match exit {
        Some(Exit::Code(EXIT_OUT_OF_MEMORY)) => {
            let message = format!("The worker ran out of memory {when}; raise memory_mb");
            return Failure::new(FailureKind::Limit, message);
        }
        Some(Exit::Code(code)) => format!("exited with status {code}"),
        Some(Exit::Signal(signal)) => {
            format!("was ended by signal {signal} ({})", signal_name(*signal))
        }
        Some(Exit::OutOfMemory(_)) => "ran out of memory".to_owned(),
        Some(Exit::NotStarted(reason)) => format!("did not start: {reason}"),
        Some(Exit::ZygoteGone) => {
            // The server's fault, which uses no attempt of a queued run.
            let message = format!(
                "The host ended {when}, and the worker with it; the function may have run in part"
            );
            return Failure::new(FailureKind::Unavailable, message);
        }
        None => "closed its connection".to_owned(),
    };
    Failure::new(kind, format!("The worker process {how} {when}"))
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => "see signal(7)",
    }
}

fn too_long(executable: &Executable, allotted: Duration) -> Failure {
    let limit = executable.timeout();
    // Moments pass between setting a deadline and getting here.
    let at_limit = allotted + Duration::from_millis(50) >= limit;
    let (limit, allotted) = (span(limit), span(allotted));
    let message = if at_limit {
        format!("The function ran longer than its time limit of {limit} and was stopped")
    } else {
        format!(
            "The function was stopped at the caller's deadline, {allotted} into the call; \
             its own time limit is {limit}"
        )
    };
    Failure::new(FailureKind::Timeout, message)
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn attach(&self, loading: Arc<dyn Loading>) {
        self.pool.attach(loading);
    }

    async fn run(&self, call: Call) -> RunReport {
        let asked = self.clock.monotonic();
        let (patience, kind) = match call.deadline {
            Some(_) => (call.allotted(asked), FailureKind::Timeout),
            // Nobody waits: it goes back into the queue, and no attempt is used up.
            None => (
                call.timeout.max(limits::WORKER_WAIT_MIN),
                FailureKind::Unavailable,
            ),
        };
        let granted = self
            .pool
            .acquire(&call.executable, call.depth, asked + patience);
        match granted.await {
            Ok(lease) => {
                let allotted = call.allotted(self.clock.monotonic());
                if let Some(place) = lease.place() {
                    call.pauses.hold(place);
                }
                self.run_on(lease, &call, allotted).await
            }
            Err(Refused::Full(full)) => {
                RunReport::failed(Failure::new(kind, none_in_time(patience, full)))
            }
            Err(Refused::Failed(refused)) => RunReport {
                result: Err(refused.failure),
                logs: refused.logs,
                worker: String::new(),
            },
        }
    }

    async fn check(
        &self,
        site: SiteId,
        source: &Source,
        _: &EgressHosts,
    ) -> Result<(), CheckError> {
        let Source::App {
            code, environment, ..
        } = source
        else {
            return Ok(());
        };
        let function = Entry::of(source, &[]).function();
        let wrong = |message: String| CodeError {
            message,
            line: None,
            column: None,
            traceback: None,
        };
        if code.len() > limits::CODE_BYTES {
            let (size, most) = (code.len(), limits::CODE_BYTES);
            let message = format!("The code is {size} bytes; the limit is {most}");
            return Err(wrong(message).into());
        }
        let Checked {
            message,
            line,
            column,
        } = self
            .checked((site, Language::of(*environment)), code, function)
            .await?;
        match message {
            None => Ok(()),
            Some(message) => Err(CodeError {
                line,
                column,
                ..wrong(message)
            }
            .into()),
        }
    }

    async fn warm(&self, executable: &Arc<Executable>) -> Result<(), Failure> {
        let deadline = self.clock.monotonic() + self.warm_limit;
        let warmed = self.pool.warm(executable, deadline).await;
        warmed.map_err(|refused| match refused {
            Refused::Failed(refused) => refused.failure,
            Refused::Full(full) => Failure::new(
                FailureKind::Unavailable,
                none_in_time(self.warm_limit, full),
            ),
        })
    }

    fn keep(&self, executable: &Arc<Executable>, keep: bool) {
        self.pool.keep(executable, keep);
    }

    fn retire(&self, site: SiteId, function: FunctionId, active: Option<Image>) {
        self.pool.retire(site, function, active);
    }

    fn health(&self) -> Result<String, String> {
        let mut told = Vec::new();
        for keeper in self.pool.keepers() {
            told.push(match (keeper.language(), keeper.health()) {
                // It may be one that nobody wants.
                (Language::Node, Err(reason)) => format!("no Node: {reason}"),
                (_, health) => health?,
            });
        }
        Ok(told.join("; "))
    }

    fn confinement(&self) -> Option<Confinement> {
        self.pool.keepers().iter().find_map(|it| it.confinement())
    }
}
