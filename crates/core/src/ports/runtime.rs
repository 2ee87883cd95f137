//! The port to whatever runs function code.
//!
//! An implementation must keep three promises: a call ends by its deadline; dropping a call's
//! future ends the run and everything that it started; and user code never runs in this process
//! (a `system` function is the operator's own Rust and the one exception).

use crate::confinement::Confinement;
use crate::egress::EgressHosts;
use crate::functions::webhook::WebhookState;
use crate::functions::{CallContext, CodeError, Environment, Executable, Image, Source};
use crate::ids::{FunctionId, SiteId};
use crate::invocations::LogLine;
use crate::json::JsonText;
use crate::pause::Pauses;
use crate::room::Taken;
use crate::tasks::{Failure, FailureKind};
use crate::time::Timestamp;
use crate::validation::FieldError;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::host_error::{HostError, HostErrorKind};
pub use super::loading::{LoadedVariables, Loading};

/// One call of one function.
#[derive(Clone)]
pub struct Call {
    /// What to run.
    pub executable: Arc<Executable>,
    /// The event's parameters, or the caller's: a JSON object.
    pub params: JsonText,
    /// Who acted, as the function sees it; a JSON object or none.
    pub user_data: Option<JsonText>,
    /// What goes into `params["__function__"]`.
    pub context: CallContext,
    /// How long the run itself may take.
    pub timeout: Duration,
    /// When somebody who waits must have an answer; waiting for a free worker counts. None when
    /// nobody waits: then a full house delays the run and takes nothing from its time.
    pub deadline: Option<Instant>,
    /// How many functions stand between this call and the request from outside.
    pub depth: u32,
    /// What the run holds and gives back while it waits for another one; a runtime adds to it.
    pub pauses: Arc<Pauses>,
    /// Answers what the function asks of the platform during the call.
    pub host: Arc<dyn HostCalls>,
    /// When what causes it happened: the same in every attempt, and for all functions of an event.
    pub caused_at: Timestamp,
    /// What is left of it if it is dropped in the middle.
    pub remains: Remains,
}

/// What a call leaves behind that is dropped before its end. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Remains(Arc<Mutex<Option<Left>>>);

struct Left {
    worker: String,
    logs: Box<dyn FnOnce() -> Vec<LogLine> + Send>,
}

impl Remains {
    /// The call runs on `worker`; `logs` finds, at any later time, what it had logged. Asked only once
    /// the call's future is gone.
    pub fn leave(&self, worker: String, logs: impl FnOnce() -> Vec<LogLine> + Send + 'static) {
        let logs = Box::new(logs);
        *self.0.lock() = Some(Left { worker, logs });
    }

    /// The report of a call that was dropped and counts as failed so.
    pub fn report(&self, failure: Failure) -> RunReport {
        let left = self.0.lock().take();
        left.map_or_else(
            || RunReport::failed(failure.clone()),
            |left| RunReport {
                result: Err(failure.clone()),
                logs: (left.logs)(),
                worker: left.worker,
            },
        )
    }
}

impl Call {
    /// How long a run that begins at `now` may take.
    pub fn allotted(&self, now: Instant) -> Duration {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(now));
        left.map_or(self.timeout, |left| left.min(self.timeout))
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// What `main` returned, or why there is no such value.
    pub result: Result<JsonText, Failure>,
    /// What was logged and printed, in order, already cut to the limits.
    pub logs: Vec<LogLine>,
    /// Which worker ran it, for people: `"python-12"`.
    pub worker: String,
}

impl RunReport {
    /// How much text it holds.
    pub fn bytes(&self) -> usize {
        let logs = self.logs.iter().map(|line| line.message.len());
        let outcome = match &self.result {
            Ok(result) => result.as_str().len(),
            Err(failure) => {
                failure.message.len() + failure.traceback.as_ref().map_or(0, |trace| trace.len())
            }
        };
        logs.sum::<usize>() + outcome
    }

    /// A report of a call that never reached a worker.
    pub fn failed(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            logs: Vec::new(),
            worker: String::new(),
        }
    }
}

/// What a function's `sdk_client` may ask for, with the rights that count at that moment.
#[async_trait]
pub trait HostCalls: Send + Sync {
    /// Answers one request. `method` is dotted: `"users.get"`; `args` is an object. It stays text as
    /// long as it can: of a small text hostile code can make a large tree.
    ///
    /// # Errors
    /// A message for the function's author, raised inside the function.
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError>;

    /// Room in this process's memory for a request of so many bytes, until it is answered: waited for before
    /// it is read. None where none is kept.
    ///
    /// # Errors
    /// As [`Self::call`].
    async fn room(&self, _bytes: usize) -> Result<Option<Taken>, HostError> {
        Ok(None)
    }

    /// As [`Self::call`] with values, for the operator's own code.
    ///
    /// # Errors
    /// As [`Self::call`].
    async fn ask(&self, method: &str, args: &Value) -> Result<Value, HostError> {
        let broken = |error: serde_json::Error| HostError::internal(&error);
        let answer = self
            .call(method, &to_raw_value(args).map_err(broken)?)
            .await?;
        serde_json::from_str(answer.get()).map_err(broken)
    }

    /// Whether log lines are wanted while the function runs, and not only in its report.
    fn follows(&self) -> bool {
        false
    }

    /// Told of log lines while the function runs, in order; each of them comes again in the report.
    fn logged(&self, _lines: &[LogLine]) {}

    /// Takes secrets that the function was told out of what it reports.
    fn redact(&self, _report: &mut RunReport) {}
}

/// Runs functions of one kind.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// From now on, `loading` tells what code has while it is loaded. Called once, before anything runs.
    fn attach(&self, _loading: Arc<dyn Loading>) {}

    /// Runs one call to its end; never later than its deadline plus the time of a kill.
    async fn run(&self, call: Call) -> RunReport;

    /// Checks a source before it is stored, without running any of it. `hosts` are those that the
    /// site's functions may reach.
    ///
    /// # Errors
    /// [`CheckError`].
    async fn check(
        &self,
        site: SiteId,
        source: &Source,
        hosts: &EgressHosts,
    ) -> Result<(), CheckError>;

    /// Makes sure that the next call of `executable` finds a ready worker. Never waits longer than
    /// the limit for loading and a little for a place.
    ///
    /// # Errors
    /// When the code does not load, or no worker can be started.
    async fn warm(&self, executable: &Arc<Executable>) -> Result<(), Failure>;

    /// Whether one worker of `executable` stays ready, and is replaced when it dies. Code that does
    /// not load is tried again at its next call, not before.
    fn keep(&self, executable: &Arc<Executable>, keep: bool);

    /// Idle workers of the function may go, those excepted that were loaded with `active`.
    fn retire(&self, site: SiteId, function: FunctionId, active: Option<Image>);

    /// Whether runs are possible, and if not, what the operator must do.
    fn health(&self) -> Result<String, String>;

    /// How the webhook behind a version does, in this process; none where there is no webhook.
    fn webhook(&self, _: &Executable) -> Option<WebhookState> {
        None
    }

    /// How function code is confined; none while nothing runs, or where there is nothing to confine.
    fn confinement(&self) -> Option<Confinement> {
        None
    }
}

/// Why a source was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// The source is wrong.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// A value beside the code is wrong.
    #[error("{}", .0.message)]
    Field(FieldError),
    /// It could not be checked.
    #[error("{0}")]
    Unavailable(String),
}

/// The runtimes of this process, by kind of function.
#[derive(Clone)]
pub struct Runtimes {
    /// Runs Python code.
    pub python: Option<Arc<dyn Runtime>>,
    /// Runs Node code.
    pub node: Option<Arc<dyn Runtime>>,
    /// Calls webhooks.
    pub proxy: Option<Arc<dyn Runtime>>,
    /// Calls registered Rust functions.
    pub system: Option<Arc<dyn Runtime>>,
}

impl Runtimes {
    /// The runtime for `source`.
    ///
    /// # Errors
    /// [`FailureKind::Unavailable`] when this process has none.
    pub fn of(&self, source: &Source) -> Result<&Arc<dyn Runtime>, Failure> {
        let (runtime, name) = match source {
            Source::App {
                environment: Environment::Python,
                ..
            } => (&self.python, "python"),
            Source::App {
                environment: Environment::Node,
                ..
            } => (&self.node, "node"),
            Source::Proxy { .. } => (&self.proxy, "proxy"),
            Source::System => (&self.system, "system"),
        };
        runtime.as_ref().ok_or_else(|| {
            Failure::new(
                FailureKind::Unavailable,
                format!("This server runs no {name} functions; see `tollgate doctor`"),
            )
        })
    }

    /// All runtimes that this process has.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        [&self.python, &self.node, &self.proxy, &self.system]
            .into_iter()
            .flatten()
    }
}
