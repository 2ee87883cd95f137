//! The pool of warm workers: who runs the next call, when to start another, whom to let go.
//!
//! Workers are kept by site and function version and never cross either. A worker that was left in
//! the middle of a call must never come back: [`Lease`] kills it unless the call ended with an
//! answer. The lock is held for bookkeeping only, never across a wait.

use super::config::ProcessConfig;
use super::protocol::{Environment, First, Fitness, Limits};
use super::worker::{LoadError, Worker};
use super::zygote::{self, Exit, Keeper};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tollgate_core::function::{Executable, Source};
use tollgate_core::ids::{FunctionId, SiteId, VersionId};
use tollgate_core::invocation::{Failure, FailureKind, LogLine};
use tollgate_core::limits;
use tollgate_core::text::span;
use tollgate_core::time::Clock;

/// How often a queue is looked at, and the shortest wait that starts another worker.
const GROWTH_TICK: Duration = Duration::from_millis(5);
/// A zygote that has not carried out a kill by then is broken.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Who may share a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    site: SiteId,
    version: VersionId,
}

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
}

type Grant = Result<Lease, StartFailure>;

pub(super) struct Pool {
    config: Arc<ProcessConfig>,
    clock: Arc<dyn Clock>,
    keeper: Arc<Keeper>,
    runtime: Handle,
    ids: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: HashMap<Key, Group>,
    /// Worker processes of all groups, from the order to start until the news of the end.
    total: usize,
    closed: bool,
    /// What is to follow once the lock is released.
    orders: Vec<Order>,
}

/// What the bookkeeping decides and [`Pool::with_state`] carries out: each may take the lock again.
enum Order {
    Start(Slot, Arc<Executable>),
    Evict(Key, Worker),
    Watch(Key, u64),
}

/// The workers of one version, and who waits for them.
struct Group {
    executable: Arc<Executable>,
    /// Least recently used first.
    idle: Vec<Idle>,
    waiters: VecDeque<oneshot::Sender<Grant>>,
    /// Processes, from the order to start until the news of the end.
    size: usize,
    /// Of these, not loaded yet.
    starting: usize,
    /// Of these, killed.
    dying: HashSet<u64>,
    /// Calls answered, ever.
    completed: u64,
    /// A task watches the queue.
    watched: bool,
    /// One idle worker stays, and is replaced.
    keep: bool,
    /// The last start has not succeeded: only a call tries again.
    unloadable: bool,
}

struct Idle {
    worker: Worker,
    since: Instant,
}

/// A worker at the disposal of one call.
pub(super) struct Lease {
    worker: Option<Worker>,
    key: Key,
    pool: Arc<Pool>,
    /// Between calls, so that others may have it.
    clean: bool,
}

impl Lease {
    /// The worker, for a call. Unless [`Self::finish`] follows, it is killed.
    pub(super) fn begin(&mut self) -> &mut Worker {
        self.clean = false;
        self.worker
            .as_mut()
            .expect("a lease holds its worker until it is dropped")
    }

    /// The call ended with an answer: a fit worker is given back, another one is replaced.
    pub(super) fn finish(mut self, fitness: &Fitness) {
        match fitness {
            Fitness::Fit => self.clean = true,
            Fitness::Unfit(reason) => {
                if let Some(worker) = self.worker.take() {
                    self.pool.replace(self.key, &worker, reason);
                }
            }
        }
    }

    /// Takes the worker out, so that dropping the lease does nothing.
    fn dissolve(mut self) -> Option<Worker> {
        self.worker.take()
    }

    /// Kills the worker with everything it started, and keeps the handle on its remains.
    pub(super) fn kill(mut self, reason: &'static str) -> Option<Worker> {
        let worker = self.worker.take()?;
        self.pool.kill(self.key, &worker, reason);
        Some(worker)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        if self.clean {
            self.pool.give_back(self.key, worker, true);
        } else {
            self.pool.kill(self.key, &worker, "dropped");
        }
    }
}

enum Found {
    Worker(Worker),
    Turn(oneshot::Receiver<Grant>),
}

/// The place of one process in the counts.
struct Slot {
    pool: Arc<Pool>,
    key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.with_state(|state| {
            state.total -= 1;
            if let Some(group) = state.groups.get_mut(&self.key) {
                group.size -= 1;
            }
            self.pool.start_eagerly(state, self.key);
            self.pool.replenish(state, self.key);
            state.tidy(self.key);
        });
    }
}

impl State {
    fn tidy(&mut self, key: Key) {
        let unused = |group: &Group| {
            group.size == 0 && group.waiters.is_empty() && !group.watched && !group.keep
        };
        if self.groups.get(&key).is_some_and(unused) {
            self.groups.remove(&key);
        }
    }

    /// The worker that has been idle longest; of those to be kept only if there is no other.
    fn take_idlest(&mut self) -> Option<(Key, Worker)> {
        let (&key, group) = self
            .groups
            .iter_mut()
            .filter(|(_, group)| !group.idle.is_empty())
            .min_by_key(|(_, group)| (group.keep && group.idle.len() == 1, group.idle[0].since))?;
        Some((key, group.idle.remove(0).worker))
    }
}

impl Pool {
    pub(super) fn new(config: ProcessConfig, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
        let config = Arc::new(config);
        let pool = Arc::new(Self {
            keeper: Keeper::new(Arc::clone(&config), Arc::clone(&clock)),
            clock,
            runtime,
            ids: AtomicU64::new(1),
            state: Mutex::default(),
            config,
        });
        pool.runtime
            .spawn(evict_idle(Arc::downgrade(&pool), pool.config.idle));
        pool.runtime
            .spawn(zygote::tend(Arc::downgrade(&pool.keeper)));
        pool
    }

    /// Does some bookkeeping, and then, without the lock, what it decided.
    fn with_state<T>(self: &Arc<Self>, book: impl FnOnce(&mut State) -> T) -> T {
        let (outcome, orders) = {
            let mut state = self.state.lock();
            let outcome = book(&mut state);
            (outcome, std::mem::take(&mut state.orders))
        };
        for order in orders {
            match order {
                Order::Start(slot, executable) => {
                    self.runtime
                        .spawn(Arc::clone(self).start_worker(slot, executable));
                }
                Order::Evict(key, worker) => self.kill(key, &worker, "evicted"),
                Order::Watch(key, completed) => {
                    self.runtime
                        .spawn(Arc::clone(self).watch_queue(key, completed));
                }
            }
        }
        outcome
    }

    pub(super) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// A worker for one call: an idle one, else the next that becomes free or ready.
    pub(super) async fn acquire(self: &Arc<Self>, executable: &Arc<Executable>) -> Grant {
        let key = Key::of(executable);
        let closed = || StartFailure::unavailable("The Python runtime is shutting down");
        let mut dead = Vec::new();
        let found = self.with_state(|state| {
            if state.closed {
                return Err(closed());
            }
            let group = state
                .groups
                .entry(key)
                .or_insert_with(|| Group::new(executable));
            dead.extend(group.adopt(executable));
            while let Some(Idle { worker, .. }) = group.idle.pop() {
                if worker.is_quiet() {
                    return Ok(Found::Worker(worker));
                }
                dead.push(worker);
            }
            let (sender, turn) = oneshot::channel();
            group.waiters.push_back(sender);
            if !group.watched {
                group.watched = true;
                state.orders.push(Order::Watch(key, group.completed));
            }
            self.start_eagerly(state, key);
            Ok(Found::Turn(turn))
        });
        for worker in dead {
            self.kill(key, &worker, "broken while idle");
        }
        match found? {
            Found::Worker(worker) => Ok(self.lease(key, worker)),
            Found::Turn(turn) => turn.await.unwrap_or_else(|_| Err(closed())),
        }
    }

    /// Makes sure that a worker is ready.
    pub(super) async fn warm(
        self: &Arc<Self>,
        executable: &Arc<Executable>,
    ) -> Result<(), Failure> {
        let lease = self
            .acquire(executable)
            .await
            .map_err(|refused| refused.failure)?;
        lease.finish(&Fitness::Fit);
        Ok(())
    }

    /// Whether one worker of a version stays.
    pub(super) fn keep(self: &Arc<Self>, executable: &Arc<Executable>, keep: bool) {
        let key = Key::of(executable);
        let outdated = self.with_state(|state| {
            if !keep {
                if let Some(group) = state.groups.get_mut(&key) {
                    group.keep = false;
                }
                state.tidy(key);
                return Vec::new();
            }
            let group = state
                .groups
                .entry(key)
                .or_insert_with(|| Group::new(executable));
            let outdated = group.adopt(executable);
            group.keep = true;
            group.unloadable = false;
            self.replenish(state, key);
            outdated
        });
        for worker in outdated {
            self.kill(key, &worker, "outdated");
        }
    }

    /// A version of which one worker stays has one, or one on its way.
    fn replenish(self: &Arc<Self>, state: &mut State, key: Key) {
        let lacking =
            |group: &Group| group.keep && !group.unloadable && group.size == group.dying.len();
        if state.groups.get(&key).is_some_and(lacking) {
            self.start_another(state, key);
        }
    }

    /// Lets a worker go that is not fit for another call. The one that takes its place is ordered
    /// first.
    fn replace(self: &Arc<Self>, key: Key, worker: &Worker, reason: &str) {
        tracing::debug!(worker.id = worker.id, reason, "worker.unfit");
        self.with_state(|state| {
            let Some(group) = state.groups.get_mut(&key) else {
                return;
            };
            group.completed += 1;
            let others = group.size - group.dying.len() > 1;
            if group.keep && !group.unloadable && !others {
                self.start_another(state, key);
            }
        });
        self.kill(key, worker, "unfit");
    }

    /// Lets idle workers of a function go: all but those of the version that is active now.
    pub(super) fn retire(&self, site: SiteId, function: FunctionId, active: Option<VersionId>) {
        let mut leaving = Vec::new();
        {
            let mut state = self.state.lock();
            let mut left = Vec::new();
            for (&key, group) in &mut state.groups {
                let is_of_it = key.site == site && group.executable.function_id == function;
                if is_of_it && Some(key.version) != active {
                    group.keep = false;
                    left.push(key);
                    leaving.extend(group.idle.drain(..).map(|idle| (key, idle.worker)));
                }
            }
            left.into_iter().for_each(|key| state.tidy(key));
        }
        for (key, worker) in leaving {
            self.kill(key, &worker, "retired");
        }
    }

    /// Kills every worker and refuses further calls. Does not wait.
    pub(super) fn abandon(&self) {
        let mut idle = Vec::new();
        {
            let mut state = self.state.lock();
            state.closed = true;
            for group in state.groups.values_mut() {
                // Whoever waits is told by the loss of the sender.
                group.waiters.clear();
                idle.append(&mut group.idle);
            }
        }
        drop(idle);
        self.keeper.abandon();
    }

    /// The same, and waits until all processes are gone.
    pub(super) async fn close(&self) {
        self.abandon();
        self.keeper.close().await;
    }

    /// A process for one check of a site's code, outside every group and count.
    pub(super) async fn checker(&self, site: SiteId) -> Result<Worker, String> {
        let zygote = self.keeper.get(site).await?;
        Worker::start(zygote, self.next_id(), limits::MEMORY_MB_DEFAULT)
            .map_err(|error| error.to_string())
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn lease(self: &Arc<Self>, key: Key, worker: Worker) -> Lease {
        Lease {
            worker: Some(worker),
            key,
            pool: Arc::clone(self),
            clean: true,
        }
    }

    /// A loaded worker is free: the longest waiting call gets it, else it is idle.
    fn give_back(self: &Arc<Self>, key: Key, mut worker: Worker, completed: bool) {
        let mut state = self.state.lock();
        let closed = state.closed;
        let Some(group) = state.groups.get_mut(&key) else {
            return;
        };
        group.completed += u64::from(completed);
        while let Some(waiter) = group.waiters.pop_front() {
            match waiter.send(Ok(self.lease(key, worker))) {
                Ok(()) => return,
                // It waits no longer. Its lease must not be dropped under this lock.
                Err(refused) => match refused.map(Lease::dissolve) {
                    Ok(Some(back)) => worker = back,
                    Ok(None) | Err(_) => return,
                },
            }
        }
        if closed {
            return;
        }
        group.idle.push(Idle {
            worker,
            since: self.clock.monotonic(),
        });
    }

    /// Orders the death of a worker that is in nobody's hands any more.
    fn kill(&self, key: Key, worker: &Worker, reason: &'static str) {
        tracing::debug!(worker.id = worker.id, reason, "worker.killed");
        if let Some(group) = self.state.lock().groups.get_mut(&key)
            // Otherwise `follow` takes, or has taken, it off the books.
            && worker.exit.borrow().is_none()
        {
            group.dying.insert(worker.id);
        }
        worker.zygote.kill(worker.id);
        let (zygote, mut exit) = (worker.zygote.clone(), worker.exit.clone());
        self.runtime.spawn(async move {
            let ended = tokio::time::timeout(KILL_LIMIT, exit.wait_for(Option::is_some)).await;
            if ended.is_err() {
                tracing::error!(zygote.pid = zygote.pid(), "zygote.stuck");
                zygote.abandon();
            }
        });
    }

    /// Starts a worker at once while the version has fewer than the machine has cores.
    fn start_eagerly(self: &Arc<Self>, state: &mut State, key: Key) {
        let Some(group) = state.groups.get(&key) else {
            return;
        };
        let wanted = group.waiters.len() > group.starting;
        if wanted && group.size - group.dying.len() < self.config.start_eagerly {
            self.start_another(state, key);
        }
    }

    /// Starts a worker if the bounds allow it. When the pool is full, an idle one is let go.
    fn start_another(self: &Arc<Self>, state: &mut State, key: Key) -> bool {
        if state.closed {
            return false;
        }
        let Some(group) = state.groups.get(&key) else {
            return false;
        };
        // Dying ones count: the bound is on what runs, and they may still do.
        let most = group
            .executable
            .options
            .max_concurrency
            .map_or(usize::MAX, |most| {
                usize::try_from(most.max(1)).unwrap_or(usize::MAX)
            });
        if group.size >= most {
            return false;
        }
        if state.total >= self.config.workers_max {
            if let Some((victim, worker)) = state.take_idlest() {
                state.orders.push(Order::Evict(victim, worker));
            }
            return false;
        }
        state.total += 1;
        let Some(group) = state.groups.get_mut(&key) else {
            return false;
        };
        group.size += 1;
        group.starting += 1;
        // Until the opposite is known, so that the news of a failed start's end starts no other.
        group.unloadable = true;
        let executable = Arc::clone(&group.executable);
        let slot = Slot {
            pool: Arc::clone(self),
            key,
        };
        state.orders.push(Order::Start(slot, executable));
        true
    }

    /// Looks at the queue of one version until it is empty.
    ///
    /// More workers are started only if the calls answered during the last tick would not have
    /// emptied the queue: fast functions need no process per concurrent call, slow ones do. Their
    /// number at most doubles in a tick, and not before one is loaded: until then nobody knows.
    async fn watch_queue(self: Arc<Self>, key: Key, mut completed: u64) {
        loop {
            tokio::time::sleep(GROWTH_TICK).await;
            let waiting = self.with_state(|state| self.grow(state, key, &mut completed));
            if !waiting {
                return;
            }
        }
    }

    /// One look at a queue. Returns whether another is needed.
    fn grow(self: &Arc<Self>, state: &mut State, key: Key, completed: &mut u64) -> bool {
        let closed = state.closed;
        let Some(group) = state.groups.get_mut(&key) else {
            return false;
        };
        group.waiters.retain(|waiter| !waiter.is_closed());
        if group.waiters.is_empty() || closed {
            group.watched = false;
            state.tidy(key);
            return false;
        }
        let done = usize::try_from(group.completed - *completed).unwrap_or(usize::MAX);
        *completed = group.completed;
        let missing = group
            .waiters
            .len()
            .saturating_sub(done)
            .saturating_sub(group.starting);
        // One that failed to load is both starting and dying for a moment.
        let loaded = group
            .size
            .saturating_sub(group.starting + group.dying.len());
        self.start_eagerly(state, key);
        for _ in 0..missing.min(loaded) {
            if !self.start_another(state, key) {
                break;
            }
        }
        true
    }

    /// Starts and loads one worker, and hands it over or reports why not.
    async fn start_worker(self: Arc<Self>, slot: Slot, executable: Arc<Executable>) {
        let key = slot.key;
        let outcome = self.launch(slot, &executable).await;
        if let Some(group) = self.state.lock().groups.get_mut(&key) {
            group.starting -= 1;
            group.unloadable = outcome.is_err();
        }
        match outcome {
            Ok(worker) => self.give_back(key, worker, false),
            Err(refused) => self.refuse(key, &refused),
        }
    }

    /// Tells those who wait, unless other workers of the version can still serve them.
    fn refuse(&self, key: Key, refused: &StartFailure) {
        let waiters = {
            let mut state = self.state.lock();
            let Some(group) = state.groups.get_mut(&key) else {
                return;
            };
            if group.size > group.starting + group.dying.len() {
                return;
            }
            std::mem::take(&mut group.waiters)
        };
        for waiter in waiters {
            // Who waits no longer need not know.
            let _ = waiter.send(Err(refused.clone()));
        }
    }

    async fn launch(
        self: &Arc<Self>,
        slot: Slot,
        executable: &Executable,
    ) -> Result<Worker, StartFailure> {
        let key = slot.key;
        let Source::App { code, .. } = &executable.source else {
            drop(slot);
            return Err(StartFailure::unavailable("This is not a Python function"));
        };
        let started = self.clock.monotonic();
        let broken = |reason: String| {
            StartFailure::unavailable(format!(
                "No Python worker could be started: {reason}; see `tollgate doctor`"
            ))
        };
        let zygote = self.keeper.get(key.site).await.map_err(broken)?;
        let mut worker = Worker::start(zygote, self.next_id(), executable.memory_mb())
            .map_err(|error| broken(error.to_string()))?;
        self.runtime
            .spawn(Arc::clone(self).follow(slot, worker.id, worker.exit.clone()));
        let first = First::Load {
            code,
            slug: &executable.function_slug,
            memory_mb: executable.memory_mb(),
            reserve_mb: limits::WORKER_RESERVE_BYTES >> 20,
            env: Environment::of(executable),
            limits: Limits::of_engine(),
        };
        let loaded = tokio::time::timeout(self.config.load, worker.load(&first)).await;
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
                let (exit, logs) = (worker.ended().await, worker.journal());
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
                    logs: worker.journal(),
                }
            }
        };
        self.kill(key, &worker, "not loaded");
        Err(refused)
    }

    /// Holds a worker's place until it has ended, then takes it off the books.
    async fn follow(self: Arc<Self>, slot: Slot, id: u64, mut exit: super::zygote::ExitWatch) {
        // An error means that the zygote is gone, and its workers with it.
        let _ = exit.wait_for(Option::is_some).await;
        let mut gone = None;
        if let Some(group) = self.state.lock().groups.get_mut(&slot.key) {
            if let Some(place) = group.idle.iter().position(|idle| idle.worker.id == id) {
                gone = Some(group.idle.remove(place));
            }
            group.dying.remove(&id);
        }
        drop(gone);
        drop(slot);
    }

    /// Lets workers go that have been idle for longer than `idle`.
    fn evict(&self, idle: Duration) {
        let now = self.clock.monotonic();
        let mut leaving = Vec::new();
        for (&key, group) in &mut self.state.lock().groups {
            let kept = usize::from(group.keep);
            while group.idle.len() > kept
                && now.saturating_duration_since(group.idle[0].since) >= idle
            {
                leaving.push((key, group.idle.remove(0).worker));
            }
        }
        for (key, worker) in leaving {
            self.kill(key, &worker, "idle");
        }
    }
}

impl Group {
    /// Takes over changed options: they are no part of a version. Returns the idle workers that
    /// were started with another memory limit.
    fn adopt(&mut self, executable: &Arc<Executable>) -> Vec<Worker> {
        if Arc::ptr_eq(&self.executable, executable) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.executable, Arc::clone(executable));
        if before.memory_mb() == executable.memory_mb() {
            return Vec::new();
        }
        self.idle.drain(..).map(|idle| idle.worker).collect()
    }

    fn new(executable: &Arc<Executable>) -> Self {
        Self {
            executable: Arc::clone(executable),
            idle: Vec::new(),
            waiters: VecDeque::new(),
            size: 0,
            starting: 0,
            dying: HashSet::new(),
            completed: 0,
            watched: false,
            keep: false,
            unloadable: false,
        }
    }
}

fn died_loading(exit: Option<Exit>, memory_mb: u32) -> Failure {
    match exit {
        Some(Exit::OutOfMemory(beyond)) => {
            super::out_of_memory(beyond, memory_mb, " while it loaded")
        }
        Some(Exit::NotStarted(reason)) => Failure::new(
            FailureKind::Unavailable,
            format!("No Python worker could be started: {reason}"),
        ),
        Some(Exit::ZygoteGone) => Failure::new(
            FailureKind::Unavailable,
            "No Python worker could be started: the Python host ended",
        ),
        exit => super::crash(exit.as_ref(), "while it loaded the code", FailureKind::Load),
    }
}

/// Lets idle workers go for as long as the pool exists.
async fn evict_idle(pool: Weak<Pool>, idle: Duration) {
    let pause = (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
    loop {
        tokio::time::sleep(pause).await;
        match pool.upgrade() {
            Some(pool) => pool.evict(idle),
            None => return,
        }
    }
}
