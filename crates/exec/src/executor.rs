//! The executor: its parts, its start and its stop.

use crate::held::Holdings;
use crate::recorder::{self, Recorder};
use crate::running::Running;
use crate::turns::Turns;
use crate::{claimer, keeper, queue, retention};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
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
    /// Watches the loops.
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
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The receiving ends, until [`Executor::start`] hands them to the loops.
struct Inbox {
    recorder: mpsc::UnboundedReceiver<recorder::Record>,
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
    pub(crate) stopping: AtomicBool,
    /// Queued runs that ended unfinished because this process stops. Their records say so already.
    pub(crate) handed_back: AtomicU64,
    /// Ends the rest between two steps of the retention, which alone waits for it.
    pub(crate) retention_stop: Notify,
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
        let (record_sender, recorder) = mpsc::unbounded_channel();
        let holder = entropy.uuid_v7(clock.now()).to_string().into();
        let shared = Arc::new(Shared {
            holder,
            runtimes,
            store,
            clock,
            entropy,
            turns: Turns::new(config.running, config.in_memory),
            holdings: Holdings::default(),
            recorder: Recorder::new(record_sender),
            running: Running::default(),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            handed_back: AtomicU64::new(0),
            retention_stop: Notify::new(),
            coordinator: OnceLock::new(),
            config,
        });
        let inbox = Mutex::new(Some(Inbox { recorder }));
        Arc::new(Self {
            shared,
            inbox,
            tasks: Mutex::default(),
        })
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
        let supervisor = &shared.config.supervisor;
        let of = || Arc::clone(shared);
        self.tasks.lock().extend([
            tokio::spawn(supervisor.watch("queue", queue::work(of()))),
            tokio::spawn(supervisor.watch("keeper", keeper::work(of()))),
            tokio::spawn(supervisor.watch("recorder", recorder::work(of(), inbox.recorder))),
            tokio::spawn(supervisor.watch("claimer", claimer::work(of()))),
            tokio::spawn(supervisor.watch("retention", retention::work(of()))),
        ]);
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
        shared.config.supervisor.stop();
        shared.stopping.store(true, Ordering::Release);
        shared.wake.notify_one();
        shared.retention_stop.notify_one();
        let ended = tokio::time::timeout(grace, shared.running.all_ended()).await;
        if ended.is_err() {
            tracing::warn!(
                runs = shared.running.count(),
                "runs outlasted the grace period"
            );
        }
        shared.running.abandon_all();
        // Each has yet to hand over what it logged.
        let told = tokio::time::timeout(limits::REPORT_PATIENCE, shared.running.all_ended()).await;
        if told.is_err() {
            tracing::warn!(
                runs = shared.running.count(),
                "runs do not end; their logs are lost"
            );
        }
        // Before a start nothing records: without the inbox the flush below returns at once.
        drop(self.inbox.lock().take());
        let flush = tokio::time::timeout(grace.max(FLUSH_MIN), shared.recorder.flush());
        let flushed = flush.await.is_ok();
        if !flushed {
            tracing::error!("the store is away: the last results are lost, their runs will repeat");
        }
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        for task in tasks {
            task.abort();
            // Until it is gone it holds the store. How it ended does not matter.
            let _ = task.await;
        }
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
        self.stopping.load(Ordering::Acquire)
    }

    /// None before the start, and once the engine is gone.
    pub(crate) fn coordinator(&self) -> Option<Arc<dyn Coordinator>> {
        self.coordinator.get()?.upgrade()
    }
}
