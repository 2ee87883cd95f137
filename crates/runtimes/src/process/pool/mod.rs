//! The pool of warm workers: carries out what its [`ledger`] decides.
//!
//! Workers are kept by site, function version and its variables, and never cross any. The lock is held for
//! bookkeeping only, never across a wait.

mod begin;
mod books;
mod fates;
mod growth;
mod lease;
mod ledger;
mod load;
mod start;
mod waiting;

pub(super) use begin::Unbegun;
pub(super) use lease::Lease;

use self::books::Books;
use self::growth::{GROWTH, PATIENCE};
use self::ledger::{Bounds, Full, Key, Ledger};
use self::load::Load;
use super::config::ProcessConfig;
use super::language::Language;
use super::protocol::First;
use super::worker::Worker;
use super::zygote::{self, Ground, Keeper};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tollgate_core::functions::{Executable, Image};
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::invocations::LogLine;
use tollgate_core::limits;
use tollgate_core::ports::runtime::Loading;
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::time::Clock;

/// How long what goes on for workers may take to end once they are gone.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Numbers of workers for checks begin here: they are in no books.
const CHECKERS: u64 = 1 << 62;

impl Key {
    fn of(executable: &Executable) -> Self {
        Self {
            site: executable.site_id,
            image: executable.image(),
        }
    }
}

/// Why there is no worker.
#[derive(Debug, Clone)]
pub(super) struct StartFailure {
    pub(super) failure: Failure,
    pub(super) logs: Vec<LogLine>,
}

impl StartFailure {
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Failure::new(FailureKind::Unavailable, message).into()
    }

    fn closed() -> Self {
        Self::unavailable("The runtime is shutting down")
    }
}

/// Nothing was logged before it.
impl From<Failure> for StartFailure {
    fn from(failure: Failure) -> Self {
        let logs = Vec::new();
        Self { failure, logs }
    }
}

/// Why nobody was granted a worker.
#[derive(Debug, Clone)]
pub(super) enum Refused {
    /// There was none in time.
    Full(Full),
    /// It could not be started.
    Failed(StartFailure),
}

type Grant = Result<Lease, Refused>;

pub(super) struct Pool {
    config: Arc<ProcessConfig>,
    clock: Arc<dyn Clock>,
    ground: Ground,
    /// One for each language that there is an interpreter for.
    keepers: Vec<Arc<Keeper>>,
    runtime: Handle,
    checkers: AtomicU64,
    books: Mutex<Books>,
    /// Somebody waits.
    waiting: Arc<Notify>,
    load: Mutex<Load>,
    /// Turns of workers that are given files.
    giving: Semaphore,
    /// What code has while it is loaded; none where no platform stands behind.
    loading: OnceLock<Arc<dyn Loading>>,
}

impl Pool {
    pub(super) fn new(
        mut config: ProcessConfig,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Arc<Self> {
        // Everything of this runtime ends together.
        config.supervisor = config.supervisor.group();
        let bounds = Bounds {
            workers: config.workers_max.max(1),
            per_site: config.workers_per_site.max(1),
            eager: config.start_eagerly,
            growth: GROWTH,
            patience: PATIENCE,
            idle: config.idle,
        };
        let config = Arc::new(config);
        let ground = Ground::new(&config, &clock);
        let keeper = |language| {
            config.interpreter(language).ok()?;
            let (config, clock) = (Arc::clone(&config), Arc::clone(&clock));
            Some(Keeper::new(language, config, clock, ground.clone()))
        };
        let keepers = Language::ALL.into_iter().filter_map(keeper).collect();
        let pool = Arc::new(Self {
            ground,
            keepers,
            clock,
            runtime,
            checkers: AtomicU64::new(CHECKERS),
            books: Mutex::new(Books {
                ledger: Ledger::new(bounds),
                idle: HashMap::new(),
                waiters: HashMap::new(),
                executables: HashMap::new(),
            }),
            waiting: Arc::default(),
            load: Mutex::new(Load::new()),
            giving: Semaphore::new(limits::BUNDLES_AT_ONCE),
            loading: OnceLock::new(),
            config,
        });
        let supervisor = &pool.config.supervisor;
        supervisor.spawn(
            "pool",
            growth::tend(Arc::downgrade(&pool), supervisor.clone()),
        );
        for keeper in &pool.keepers {
            let tending = zygote::tend(Arc::downgrade(keeper), supervisor.clone());
            supervisor.spawn("hosts", tending);
        }
        pool
    }

    /// Owns the loops, and what they start.
    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.config.supervisor
    }

    /// A second one is none.
    pub(super) fn attach(&self, loading: Arc<dyn Loading>) {
        let _ = self.loading.set(loading);
    }

    /// The keepers of all languages.
    pub(super) fn keepers(&self) -> &[Arc<Keeper>] {
        &self.keepers
    }

    /// That of one.
    ///
    /// # Errors
    /// Why there is no interpreter for it.
    pub(super) fn keeper(&self, language: Language) -> Result<&Arc<Keeper>, String> {
        self.config.interpreter(language)?;
        let mut keepers = self.keepers.iter();
        let found = keepers.find(|it| it.language() == language);
        found.ok_or_else(|| format!("there is no {}", language.title()))
    }

    /// Whether one worker of a version stays.
    pub(super) fn keep(self: &Arc<Self>, executable: &Arc<Executable>, keep: bool) {
        let key = Key::of(executable);
        let now = self.clock.monotonic();
        self.with_books(|books| {
            if keep {
                books.adopt(executable, now);
            }
            books.ledger.keep(key, executable.function_id, keep, now);
            books.forget(key);
        });
    }

    /// Lets idle workers of a function go: all but those that were loaded with what is active now.
    pub(super) fn retire(
        self: &Arc<Self>,
        site: SiteId,
        function: FunctionId,
        active: Option<Image>,
    ) {
        let now = self.clock.monotonic();
        self.with_books(|books| books.ledger.retire(site, function, active, now));
    }

    /// Kills every worker and refuses further calls. Does not wait.
    pub(super) fn abandon(&self) {
        let (idle, waiters) = {
            let mut books = self.books.lock();
            books.ledger.close();
            (
                std::mem::take(&mut books.idle),
                std::mem::take(&mut books.waiters),
            )
        };
        // Whoever waits is told by the loss of the sender.
        drop((idle, waiters));
        // Whatever comes to its end now was asked to.
        self.config.supervisor.stop();
        self.keepers.iter().for_each(|keeper| keeper.abandon());
    }

    /// The same, and waits until all processes are gone.
    pub(super) async fn close(&self) {
        self.abandon();
        for keeper in &self.keepers {
            keeper.close().await;
        }
        self.ground.release();
        self.config.supervisor.joined(CLOSE_LIMIT).await;
    }

    /// A process for one check of a site's code, outside all books.
    pub(super) async fn checker(
        &self,
        (site, language): (SiteId, Language),
        first: &First<'_>,
    ) -> Result<Worker, Unbegun> {
        let number = self.checkers.fetch_add(1, Ordering::Relaxed);
        let ordered = self.order((site, language), number, limits::MEMORY_MB_DEFAULT);
        let worker = ordered.await?;
        self.begin(worker, first, &[]).await
    }
}
