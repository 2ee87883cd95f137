//! The port to whatever carries tasks to runtimes: `exec` in this process.
//!
//! An implementation runs tasks and reports; which state follows is [`crate::tasks`]'s decision.

use super::runtime::{HostCalls, RunReport};
use super::store::Claimed;
use crate::events::EventType;
use crate::functions::Executable;
use crate::ids::{FunctionId, SiteId};
use crate::invocations::{Hold, InvocationChanged, NewInvocation};
use crate::json::JsonText;
use crate::tasks::{Attempt, Failure};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;

/// In whose name a function runs.
#[derive(Clone)]
pub struct Acting {
    /// `user_data`: a JSON object, or none when nobody signed in caused the run.
    pub user_data: Option<JsonText>,
    /// Answers the function's `sdk_client`, with the rights that count at each call.
    pub host: Arc<dyn HostCalls>,
}

/// A run that somebody has taken: under which hold, and as which attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Who holds it.
    pub hold: Hold,
    /// Which attempt begins.
    pub attempt: Attempt,
}

impl Taken {
    /// A run that its maker holds from its birth.
    pub fn at_birth(holder: Arc<str>) -> Self {
        Self {
            hold: Hold { holder, fence: 1 },
            attempt: Attempt::FIRST,
        }
    }

    /// Whether somebody had it before whose attempt did not end, or did not count. That one may
    /// have begun: short runs end before their start is noted.
    pub fn was_interrupted(&self) -> bool {
        self.hold.fence > self.attempt.number || self.attempt.uncounted > 0
    }
}

/// One attempt, ready to run.
#[derive(Clone)]
pub struct TaskRun {
    /// The record, as written.
    pub invocation: NewInvocation,
    /// Whose it is.
    pub taken: Taken,
    /// What to run.
    pub executable: Arc<Executable>,
    /// In whose name.
    pub acting: Acting,
    /// An earlier end than the invocation's own time limit: the PRE stage's.
    pub deadline: Option<Instant>,
}

/// How a run ended and when.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// The runtime's report.
    pub report: RunReport,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Waits for one run. Dropping it cancels the run: it may end by itself for a short while, and is then
/// ended by force.
pub struct RunHandle {
    receiver: oneshot::Receiver<FinishedRun>,
    /// None once it was cancelled.
    cancel: Option<CancelOnDrop>,
}

/// Calls its closure when dropped.
pub struct CancelOnDrop(Option<Box<dyn FnOnce() + Send>>);

impl CancelOnDrop {
    /// `cancel` is called once, also after the run has ended: it must bear that.
    pub fn new(cancel: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(cancel)))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}

impl RunHandle {
    /// For dispatchers: the run will be reported through `receiver`'s other end.
    pub fn new(receiver: oneshot::Receiver<FinishedRun>, cancel: CancelOnDrop) -> Self {
        Self {
            receiver,
            cancel: Some(cancel),
        }
    }

    /// Cancels the run. Its end can still be waited for.
    pub fn cancel(&mut self) {
        self.cancel = None;
    }
}

impl Future for RunHandle {
    /// None when the dispatcher stopped without a report.
    type Output = Option<FinishedRun>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(Result::ok)
    }
}

/// Room in memory for queued runs, taken before they are written. Dropping it gives the room back.
pub trait Reservation: Send {
    /// Whether there is room for the run that was asked for as number `number`, from 0.
    fn granted(&self, number: usize) -> bool;

    /// Takes the runs for which there is room, in the order in which they were asked for. They
    /// have been committed meanwhile.
    fn submit(self: Box<Self>, runs: Vec<TaskRun>);
}

/// Carries tasks to runtimes.
pub trait Dispatcher: Send + Sync {
    /// Who holds the runs of this process, unique to this start of it.
    fn holder(&self) -> Arc<str>;

    /// Runs at once; somebody waits.
    ///
    /// # Errors
    /// When the task cannot be taken: stopping, overloaded, or no runtime for it.
    fn run_now(&self, run: TaskRun) -> Result<RunHandle, Failure>;

    /// Asks for room for one queued run of each of these functions; may grant it to some of them,
    /// also to none.
    fn reserve(&self, site: SiteId, functions: &[FunctionId]) -> Box<dyn Reservation>;

    /// There are runs in the store that nobody holds.
    fn wake(&self);

    /// The function was deleted or switched off: its runs end now, as failed so.
    fn cancel_function(&self, function: FunctionId, failure: Failure);
}

/// A claimed row that cannot run.
#[derive(Debug)]
pub struct Unrunnable {
    /// The row.
    pub claimed: Claimed,
    /// What to record instead of running it.
    pub failure: Failure,
}

/// What the dispatcher asks of the engine about queued runs.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// Finds code and rights for the rows of one claim, in their order. What several of them need is looked up
    /// once.
    async fn resolve(&self, claimed: Vec<Claimed>) -> Vec<Result<TaskRun, Box<Unrunnable>>>;

    /// What the attempt that begins now runs: the version that is active at this moment, unless the
    /// run is pinned to one.
    ///
    /// # Errors
    /// Why it must not begin: its function was deleted or switched off meanwhile.
    async fn begin(&self, run: TaskRun) -> Result<TaskRun, Failure>;

    /// The webhook that a run of this event called is gone for good: its subscription is closed. To be
    /// called before the run's end is written. Answers what follows from it, for people; none when
    /// nothing does.
    async fn gone(&self, executable: &Executable, event: EventType) -> Option<&'static str>;

    /// An invocation's state was written: tells whoever watches.
    fn announce(&self, change: InvocationChanged);
}
