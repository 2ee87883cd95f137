//! The executor: its parts, its start and its stop.

use crate::held::Holdings;
use crate::recorder::{self, Recorder};
use crate::running::Running;
use crate::turns::Turns;
use crate::{claimer, keeper, queue, retention};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tollgate_core::entropy::Entropy;
use tollgate_core::invocations::retention::Retention;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::ports::runtime::Runtimes;
use tollgate_core::ports::store::{Reason, Recovered, Store, StoreError, SystemStore};
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::Clock;

/// How long a stop waits at least for the last results to be written.
const FLUSH_MIN: Duration = Duration::from_secs(5);
/// How long loops may take to end that are told to.
const LOOPS_END: Duration = Duration::from_secs(1);

/// What an operator may change.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Queued runs at the same time.
    pub running: usize,
    /// Queued runs held in memory, waiting or running.
    pub in_memory: usize,
    /// Looking for work that nobody announced, this often.
    pub poll: Duration,
    /// A worker that gives no sign of life for this long is taken for dead.
    pub lease: Duration,
    /// How long records are kept.
    pub retention: Retention,
    /// Owns the loops and the runs.
    pub supervisor: Supervisor,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            running: limits::TASKS_RUNNING,
            in_memory: limits::TASKS_IN_MEMORY,
            poll: Duration::from_secs(5),
            lease: limits::LEASE,
            retention: Retention::default(),
            supervisor: Supervisor::default(),
        }
    }
}

/// Carries tasks to runtimes in this process.
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
    inbox: Mutex<Option<Inbox>>,
}

/// The receiving ends, until [`Executor::start`] hands them to the loops.
struct Inbox {
    recorder: mpsc::Receiver<recorder::Record>,
}

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) holder: Arc<str>,
    pub(crate) runtimes: Runtimes,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) config: ExecutorConfig,
    pub(crate) turns: Turns,
    pub(crate) holdings: Holdings,
    pub(crate) recorder: Recorder,
    pub(crate) running: Running,
    /// There is something to claim.
    pub(crate) wake: Notify,
    /// What takes work up; told to stop first.
    pub(crate) taking: Supervisor,
    /// The runs under way.
    pub(crate) runs: Supervisor,
    /// What records and keeps this process's name alive; told to stop when the last run has ended.
    pub(crate) keeping: Supervisor,
    /// Queued runs that ended unfinished because this process stops. Their records say so already.
    pub(crate) handed_back: AtomicU64,
    /// Weak: the engine behind it holds this executor.
    coordinator: OnceLock<Weak<dyn Coordinator>>,
}

impl Executor {
    /// An executor that takes runs at once and works on them after [`Self::start`].
    pub fn new(
        store: Arc<dyn Store>,
        runtimes: Runtimes,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: ExecutorConfig,
    ) -> Arc<Self> {
        let (recorder, inbox) = Recorder::new(config.in_memory);
        let room = config.supervisor.group();
        let holder = entropy.uuid_v7(clock.now()).to_string().into();
        let shared = Arc::new(Shared {
            holder,
            runtimes,
            store,
            clock,
            entropy,
            turns: Turns::new(config.running, config.in_memory),
            holdings: Holdings::default(),
            recorder,
            running: Running::default(),
            wake: Notify::new(),
            taking: room.group(),
            runs: room.group(),
            keeping: room.group(),
            handed_back: AtomicU64::new(0),
            coordinator: OnceLock::new(),
            config,
        });
        let inbox = Mutex::new(Some(Inbox { recorder: inbox }));
        Arc::new(Self { shared, inbox })
    }

    /// Puts earlier processes' work in order and begins to work. A second call does nothing.
    ///
    /// `coordinator` must be kept alive by the caller for as long as work is wanted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(&self, coordinator: &Arc<dyn Coordinator>) -> Result<Recovered, StoreError> {
        let Some(inbox) = self.inbox.lock().take() else {
            return Ok(Recovered::default());
        };
        let shared = &self.shared;
        // Cannot be set already: the inbox was still there.
        let _ = shared.coordinator.set(Arc::downgrade(coordinator));
        let recovered = keeper::beat(shared).await?;
        let (taking, keeping) = (&shared.taking, &shared.keeping);
        let of = || Arc::clone(shared);
        taking.spawn("queue", queue::work(of()));
        taking.spawn("claimer", claimer::work(of()));
        taking.spawn("retention", retention::work(of()));
        keeping.spawn("keeper", keeper::work(of()));
        keeping.spawn("recorder", recorder::work(of(), inbox.recorder));
        shared.wake.notify_one();
        Ok(recovered)
    }

    /// The runs under way, by the function's slug: how many, most first.
    pub fn running(&self) -> Vec<(String, usize)> {
        self.shared.running.by_function()
    }

    /// Takes nothing new, lets running work end for `grace`, and hands the rest back to the store.
    ///
    /// # Errors
    /// When the store fails: what was held is then taken up at the next start.
    pub async fn stop(&self, grace: Duration) -> Result<Recovered, StoreError> {
        let shared = &self.shared;
        shared.taking.stop();
        let ended = tokio::time::timeout(grace, shared.running.all_ended()).await;
        if ended.is_err() {
            tracing::warn!(
                runs = shared.running.count(),
                "runs outlasted the grace period"
            );
        }
        shared.running.abandon_all();
        // Each has yet to hand over what it logged.
        shared.runs.stop();
        let left = shared.runs.joined(limits::REPORT_PATIENCE).await;
        if !left.is_empty() {
            tracing::warn!("runs do not end; their logs are lost");
        }
        // Before a start nothing records: without the inbox the flush below returns at once.
        drop(self.inbox.lock().take());
        let flush = tokio::time::timeout(grace.max(FLUSH_MIN), shared.recorder.flush());
        let flushed = flush.await.is_ok();
        if !flushed {
            tracing::error!("the store is away: the last results are lost, their runs will repeat");
        }
        // Until they are gone they hold the store.
        shared.keeping.stop();
        tokio::join!(
            shared.taking.joined(LOOPS_END),
            shared.keeping.joined(LOOPS_END)
        );
        let mut left = shared.system().release(&shared.holder).await?;
        if flushed {
            left.requeued += shared.handed_back.load(Ordering::Relaxed);
        }
        Ok(left)
    }
}

impl Shared {
    pub(crate) fn system(&self) -> Arc<dyn SystemStore> {
        self.store.system(Reason::Execute)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.taking.is_stopping()
    }

    /// None before the start, and once the engine is gone.
    pub(crate) fn coordinator(&self) -> Option<Arc<dyn Coordinator>> {
        self.coordinator.get()?.upgrade()
    }
}
