//! The pool of warm workers: carries out what its [`ledger`] decides.
//!
//! Workers are kept by site and function version and never cross either. The lock is held for
//! bookkeeping only, never across a wait.

mod begin;
mod lease;
mod ledger;
mod load;
mod start;

pub(super) use begin::Unbegun;
pub(super) use lease::Lease;

use self::ledger::{Bounds, Full, Key, Ledger, Order, Ticket, Wish, WorkerId};
use self::load::Load;
use super::config::ProcessConfig;
use super::language::Language;
use super::protocol::{First, Fitness};
use super::worker::Worker;
use super::zygote::{self, Ground, Keeper};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::functions::Executable;
use tollgate_core::ids::{FunctionId, SiteId, VersionId};
use tollgate_core::invocations::LogLine;
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::time::Clock;

/// How often queues are looked at.
const TICK: Duration = Duration::from_millis(5);
/// The shortest wait that starts another worker: a little less, so that a late look misses none.
const GROWTH: Duration = Duration::from_millis(4);
/// The same where every processor is busy: another worker must be worth more than its start costs them.
const PATIENCE: Duration = Duration::from_millis(20);
/// A zygote that has not carried out a kill by then is broken.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Numbers of workers for checks begin here: they are in no books.
const CHECKERS: u64 = 1 << 62;

impl Key {
    fn of(executable: &Executable) -> Self {
        Self {
            site: executable.site_id,
            version: executable.version_id,
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
        Self {
            failure: Failure::new(FailureKind::Unavailable, message),
            logs: Vec::new(),
        }
    }

    fn closed() -> Self {
        Self::unavailable("The runtime is shutting down")
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
}

struct Books {
    ledger: Ledger,
    /// Workers in nobody's hands.
    idle: HashMap<WorkerId, Worker>,
    waiters: HashMap<Ticket, oneshot::Sender<Grant>>,
    /// What each version runs, under the options that were seen last.
    executables: HashMap<Key, Arc<Executable>>,
}

/// What is to be done once the lock is released: each may take it again.
enum Action {
    Start(WorkerId, Key, Arc<Executable>),
    End(Worker, &'static str),
    Answer(oneshot::Sender<Grant>, Grant),
}

/// Somebody's place in the queue; leaving it is automatic.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    key: Key,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let now = self.pool.clock.monotonic();
        self.pool.with_books(|books| {
            if books.waiters.remove(&self.ticket).is_some() {
                books.ledger.give_up(self.key, self.ticket, now);
                books.forget(self.key);
            }
        });
    }
}

impl Books {
    fn act(&mut self, pool: &Arc<Pool>, order: Order) -> Option<Action> {
        match order {
            Order::Start { worker, key } => {
                let executable = self.executables.get(&key)?;
                Some(Action::Start(worker, key, Arc::clone(executable)))
            }
            // One that is in somebody's hands is ended by them.
            Order::Kill { worker, why } => Some(Action::End(self.idle.remove(&worker)?, why)),
            Order::Grant { ticket, worker } => {
                // A lease must not be dropped under the lock, so its taker first.
                let waiter = self.waiters.remove(&ticket)?;
                let lease = Lease::new(self.idle.remove(&worker)?, Arc::clone(pool));
                Some(Action::Answer(waiter, Ok(lease)))
            }
            Order::Refuse { ticket, full } => {
                let waiter = self.waiters.remove(&ticket)?;
                Some(Action::Answer(waiter, Err(Refused::Full(full))))
            }
        }
    }

    /// Takes over changed options: they are no part of a version.
    fn adopt(&mut self, executable: &Arc<Executable>, now: Instant) {
        let key = Key::of(executable);
        let known = self.executables.entry(key);
        let known = known.or_insert_with(|| Arc::clone(executable));
        if Arc::ptr_eq(known, executable) {
            return;
        }
        let before = std::mem::replace(known, Arc::clone(executable));
        if before.memory_mb() != executable.memory_mb() {
            self.ledger.outdate(key, now);
        }
    }

    fn forget(&mut self, key: Key) {
        if !self.ledger.knows(key) {
            self.executables.remove(&key);
        }
    }
}

impl Pool {
    pub(super) fn new(config: ProcessConfig, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
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
            config,
        });
        let tending = tend(Arc::downgrade(&pool));
        let supervisor = &pool.config.supervisor;
        pool.runtime.spawn(supervisor.watch("pool", tending));
        for keeper in &pool.keepers {
            let tending = zygote::tend(Arc::downgrade(keeper));
            pool.runtime.spawn(supervisor.watch("hosts", tending));
        }
        pool
    }

    /// Does some bookkeeping, and then, without the lock, what was decided.
    fn with_books<T>(self: &Arc<Self>, book: impl FnOnce(&mut Books) -> T) -> T {
        let (outcome, actions) = {
            let mut books = self.books.lock();
            let outcome = book(&mut books);
            let orders = books.ledger.take_orders();
            let act = |order| books.act(self, order);
            let actions: Vec<_> = orders.into_iter().filter_map(act).collect();
            (outcome, actions)
        };
        for action in actions {
            match action {
                Action::Start(worker, key, executable) => {
                    let start = Arc::clone(self).start_worker(worker, key, executable);
                    self.runtime
                        .spawn(self.supervisor().watch_passing("start", start));
                }
                Action::End(worker, why) => self.end(&worker, why),
                // Who waits no longer gives back what it was granted.
                Action::Answer(waiter, grant) => drop(waiter.send(grant)),
            }
        }
        outcome
    }

    /// Watches the loops, and what they start.
    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.config.supervisor
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

    /// A worker for one call, by `deadline`: an idle one, else the next that becomes free or ready.
    /// `depth` is how many functions stand between the call and the request from outside.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        executable: &Arc<Executable>,
        depth: u32,
        deadline: Instant,
    ) -> Grant {
        let most = executable.options.max_concurrency;
        let most = most.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let wish = Wish {
            key: Key::of(executable),
            function: executable.function_id,
            most,
            depth,
            deadline,
        };
        loop {
            let lease = self.ask(executable, wish).await?;
            if lease.is_quiet() {
                return Ok(lease);
            }
            lease.kill("broken while idle");
        }
    }

    async fn ask(self: &Arc<Self>, executable: &Arc<Executable>, wish: Wish) -> Grant {
        let now = self.clock.monotonic();
        let (sender, mut turn) = oneshot::channel();
        let ticket = self.with_books(|books| {
            if books.ledger.is_closed() {
                return None;
            }
            books.adopt(executable, now);
            let ticket = books.ledger.ask(wish, now);
            books.waiters.insert(ticket, sender);
            Some(ticket)
        });
        let Some(ticket) = ticket else {
            return Err(Refused::Failed(StartFailure::closed()));
        };
        if let Ok(granted) = turn.try_recv() {
            return granted;
        }
        self.waiting.notify_one();
        let _waiting = Waiting {
            pool: self,
            key: wish.key,
            ticket,
        };
        turn.await
            .unwrap_or_else(|_| Err(Refused::Failed(StartFailure::closed())))
    }

    /// Makes sure that a worker is ready.
    pub(super) async fn warm(
        self: &Arc<Self>,
        executable: &Arc<Executable>,
        deadline: Instant,
    ) -> Result<(), Refused> {
        let lease = self.acquire(executable, 0, deadline).await?;
        lease.finish(&Fitness::Fit);
        Ok(())
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

    /// Lets idle workers of a function go: all but those of the version that is active now.
    pub(super) fn retire(
        self: &Arc<Self>,
        site: SiteId,
        function: FunctionId,
        active: Option<VersionId>,
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
        self.begin(worker, first).await
    }

    /// Kills a worker that is in nobody's hands any more.
    fn end(&self, worker: &Worker, reason: &'static str) {
        tracing::debug!(worker.id = worker.id, reason, "worker.killed");
        worker.zygote.kill(worker.id);
        let (zygote, mut exit) = (worker.zygote.clone(), worker.exit.clone());
        let watched = async move {
            let ended = tokio::time::timeout(KILL_LIMIT, exit.wait_for(Option::is_some)).await;
            if ended.is_err() {
                zygote.give_up_on();
            }
        };
        self.runtime
            .spawn(self.supervisor().watch_passing("kill", watched));
    }
}

/// What happens to workers.
impl Pool {
    /// A worker is free. One that has ended meanwhile is in no books any more, and is dropped.
    fn give_back(self: &Arc<Self>, worker: Worker) {
        let (number, now) = (worker.id, self.clock.monotonic());
        self.with_books(|books| {
            if books.ledger.returned(number, now) {
                books.idle.insert(number, worker);
            }
        });
    }

    /// A worker must not be used again.
    fn lose(self: &Arc<Self>, worker: &Worker, why: &'static str) {
        let now = self.clock.monotonic();
        self.with_books(|books| books.ledger.lost(worker.id, why, now));
        self.end(worker, why);
    }

    fn loaded(self: &Arc<Self>, worker: Worker) {
        let (number, now) = (worker.id, self.clock.monotonic());
        self.with_books(|books| {
            if books.ledger.loaded(number, now) {
                books.idle.insert(number, worker);
            }
        });
    }

    fn not_loaded(self: &Arc<Self>, worker: WorkerId, refused: &StartFailure) {
        let now = self.clock.monotonic();
        let told = self.with_books(|books| {
            let tickets = books.ledger.failed(worker, now);
            let tickets = tickets.into_iter();
            tickets
                .filter_map(|ticket| books.waiters.remove(&ticket))
                .collect::<Vec<_>>()
        });
        for waiter in told {
            // Who waits no longer need not know.
            let _ = waiter.send(Err(Refused::Failed(refused.clone())));
        }
    }

    fn exited(self: &Arc<Self>, worker: WorkerId) {
        let now = self.clock.monotonic();
        let gone = self.with_books(|books| {
            let gone = books.idle.remove(&worker);
            books.ledger.exited(worker, now);
            gone
        });
        drop(gone);
    }

    fn park(self: &Arc<Self>, worker: WorkerId) {
        let now = self.clock.monotonic();
        self.with_books(|books| books.ledger.park(worker, now));
    }

    fn resume(self: &Arc<Self>, worker: WorkerId) {
        self.with_books(|books| books.ledger.resume(worker));
    }

    /// One look at queues and idle workers. Returns whether anybody waits.
    fn look(self: &Arc<Self>, idle_too: bool) -> bool {
        let now = self.clock.monotonic();
        let spare = self.load.lock().is_spare(now);
        self.with_books(|books| {
            books.ledger.tick(now, spare);
            if idle_too {
                books.ledger.let_idle_go(now);
                let Books {
                    ledger,
                    executables,
                    ..
                } = books;
                executables.retain(|key, _| ledger.knows(*key));
            }
            books.ledger.is_waited_for()
        })
    }
}

/// Looks at the queues for as long as the pool exists: often while anybody waits.
async fn tend(pool: Weak<Pool>) {
    let known = pool.upgrade();
    let Some((idle, waiting)) = known.map(|it| (it.config.idle, Arc::clone(&it.waiting))) else {
        return;
    };
    let pause = (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
    let mut next_idle = tokio::time::Instant::now() + pause;
    let mut waited_for = false;
    loop {
        let tick = tokio::time::Instant::now() + TICK;
        let wake = if waited_for {
            tick.min(next_idle)
        } else {
            next_idle
        };
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = waiting.notified(), if !waited_for => {
                waited_for = true;
                continue;
            }
        }
        let Some(pool) = pool.upgrade() else { return };
        failpoint::hit(Point::LoopPool);
        let idle_too = tokio::time::Instant::now() >= next_idle;
        if idle_too {
            next_idle = tokio::time::Instant::now() + pause;
        }
        waited_for = pool.look(idle_too);
    }
}
