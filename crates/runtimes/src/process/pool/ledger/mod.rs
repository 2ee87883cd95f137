//! Decides who gets which worker, which ones start and which ones go. Pure: no process, no clock.
//!
//! Everything that happens is an input; what is to be done about it is a list of [`Order`]s. The rules
//! stand in [`serve`] (who is next, who has to go) and [`group`] (how many workers a version wants). It must
//! never wait, look at a clock, or forget somebody who waits: each is granted a worker or refused.

mod group;
mod serve;

use self::group::{Group, Waiter};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tollgate_core::functions::Image;
use tollgate_core::ids::{FunctionId, SiteId};

/// Who may share a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::process) struct Key {
    pub(in crate::process) site: SiteId,
    pub(in crate::process) image: Image,
}

/// One worker process, from the order to start it until the news of its end.
pub(in crate::process) type WorkerId = u64;
/// Somebody who waits for a worker.
pub(in crate::process) type Ticket = u64;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Workers of all sites.
    pub(super) workers: usize,
    /// Workers of one site.
    pub(super) per_site: usize,
    /// Workers of one version that are started without waiting whether the first ones keep up.
    pub(super) eager: usize,
    /// How long a queue is watched before it starts another worker.
    pub(super) growth: Duration,
    /// The same where no processor is to spare.
    pub(super) patience: Duration,
    /// How long an unused worker is kept.
    pub(super) idle: Duration,
}

impl Bounds {
    /// Workers that wait for a run of their own and do not count, at most.
    pub(super) const fn parked(&self) -> usize {
        self.workers.div_ceil(2)
    }

    /// What kept workers leave free, and a site that has its share already.
    pub(super) const fn reserve(&self) -> usize {
        let eighth = self.workers / 8;
        if eighth == 0 { 1 } else { eighth }
    }
}

/// A wish for a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) key: Key,
    pub(super) function: FunctionId,
    /// Most workers of the function.
    pub(super) most: usize,
    /// How many functions stand between the call and the request from outside.
    pub(super) depth: u32,
    /// When it is refused.
    pub(super) deadline: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Start { worker: WorkerId, key: Key },
    Kill { worker: WorkerId, why: &'static str },
    Grant { ticket: Ticket, worker: WorkerId },
    Refuse { ticket: Ticket, full: Full },
}

/// Why somebody got no worker in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Full {
    /// A worker is still loading the code.
    Loading,
    /// The function has as many as it may.
    Function(usize),
    /// Its site has.
    Site,
    /// All workers are in use.
    Server(usize),
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loading => f.write_str("its first worker was still loading the code"),
            Self::Function(most) => write!(
                f,
                "the function used all {most} workers that it may have (max_concurrency)"
            ),
            Self::Site => f.write_str(
                "the functions of this site used all workers that they may have; see `python.workers` \
                 and `python.workers_per_site`",
            ),
            Self::Server(all) => {
                write!(f, "all {all} workers were in use; see `python.workers`")
            }
        }
    }
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It loads its code, for somebody who waits or because it is to be kept.
    Starting {
        wanted: bool,
    },
    Idle,
    Busy,
    /// Busy with waiting for a run that its own run has caused.
    Parked,
    /// Its end was ordered.
    Dying,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    state: State,
    /// Of the options that it was started with.
    generation: u32,
    /// Its process has ended, and whoever loads it has not noticed.
    ended: bool,
}

/// One site's part.
#[derive(Debug, Default)]
struct Site {
    /// Versions with something to be served; the first one is next.
    turn: VecDeque<Key>,
    /// Workers that run or start for somebody, and places promised.
    busy: usize,
    /// Processes, less the parked ones.
    processes: usize,
    /// Versions that somebody waits for.
    waited_for: usize,
    groups: usize,
}

impl Site {
    /// Whether it wants some now.
    const fn is_active(&self) -> bool {
        self.busy > 0 || self.waited_for > 0
    }
}

/// The books of a pool.
#[derive(Debug)]
pub(super) struct Ledger {
    bounds: Bounds,
    groups: HashMap<Key, Group>,
    sites: HashMap<SiteId, Site>,
    workers: HashMap<WorkerId, Entry>,
    /// Sites with something to be served; the first one is next.
    turn: VecDeque<SiteId>,
    /// For whom workers were let go that have not ended yet, oldest first.
    promises: VecDeque<Key>,
    /// Kept versions that may have no worker, to be looked at when there is room.
    lacking: VecDeque<Key>,
    /// Sites that want some now.
    active: usize,
    /// Versions that somebody waits for.
    waited_for: usize,
    busy: usize,
    idle: usize,
    parked: usize,
    dying: usize,
    next_worker: WorkerId,
    next_ticket: Ticket,
    closed: bool,
    orders: Vec<Order>,
}

impl Ledger {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            groups: HashMap::new(),
            sites: HashMap::new(),
            workers: HashMap::new(),
            turn: VecDeque::new(),
            promises: VecDeque::new(),
            lacking: VecDeque::new(),
            active: 0,
            waited_for: 0,
            busy: 0,
            idle: 0,
            parked: 0,
            dying: 0,
            next_worker: 1,
            next_ticket: 1,
            closed: false,
            orders: Vec::new(),
        }
    }

    /// What is to be done since this was asked last.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A number that no worker has.
    pub(super) fn next_worker(&mut self) -> WorkerId {
        let number = self.next_worker;
        self.next_worker += 1;
        number
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether anybody waits, so that [`Self::tick`] has something to do.
    pub(super) const fn is_waited_for(&self) -> bool {
        self.waited_for > 0
    }

    /// Whether there is anything to be known about a version.
    pub(super) fn knows(&self, key: Key) -> bool {
        self.groups.contains_key(&key)
    }

    /// Somebody wants a worker. Granted or refused under the returned number.
    pub(super) fn ask(&mut self, wish: Wish, now: Instant) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let group = self.group(wish.key, wish.function);
        group.most = wish.most.max(1);
        group.retired = false;
        let was_waited_for = !group.waiters.is_empty();
        group.line_up(Waiter {
            ticket,
            depth: wish.depth,
            deadline: wish.deadline,
        });
        if !was_waited_for {
            group.begin_queue(now);
            self.waited_for += 1;
            self.change(wish.key.site, |site| site.waited_for += 1);
        }
        self.look_at(wish.key, now);
        self.settle(now);
        ticket
    }

    /// Somebody waits no longer. Does nothing for whoever was answered.
    pub(super) fn give_up(&mut self, key: Key, ticket: Ticket, now: Instant) {
        self.with_waiters(key, |group| {
            group.waiters.retain(|waiter| waiter.ticket != ticket);
        });
        self.settle(now);
        self.tidy(key);
    }

    /// A worker has loaded its code. Returns whether it is still there.
    pub(super) fn loaded(&mut self, worker: WorkerId, now: Instant) -> bool {
        let Some((key, State::Starting { wanted })) = self.found(worker) else {
            return false;
        };
        let ended = self.workers.get(&worker).is_some_and(|it| it.ended);
        self.set(worker, State::Idle);
        if let Some(group) = self.groups.get_mut(&key) {
            group.starting -= 1;
            group.unloadable = false;
            group.idle.push((worker, now));
        }
        self.idle += 1;
        self.occupy(key.site, -isize::from(wanted));
        if ended {
            self.exited(worker, now);
            return false;
        }
        self.dismiss_outdated(key, worker, now);
        if wanted && !self.closed {
            // It was started for somebody, who gets it before anybody else may want it gone.
            self.grant(key);
        }
        self.look_at(key, now);
        self.settle(now);
        true
    }

    /// A worker could not load its code. Returns who is to be told, if nobody else can serve them.
    pub(super) fn failed(&mut self, worker: WorkerId, now: Instant) -> Vec<Ticket> {
        let Some((key, State::Starting { .. })) = self.found(worker) else {
            return Vec::new();
        };
        let ended = self.workers.get(&worker).is_some_and(|it| it.ended);
        self.leave(worker);
        self.set_dying(worker, "not loaded");
        let mut told = Vec::new();
        self.with_waiters(key, |group| {
            group.unloadable = true;
            if group.loaded() == 0 {
                told = group.waiters.drain(..).map(|it| it.ticket).collect();
            }
        });
        if ended {
            self.exited(worker, now);
        }
        self.look_at(key, now);
        self.settle(now);
        told
    }

    /// A call ended with an answer and its worker may have the next one. Returns whether it is still
    /// there.
    pub(super) fn returned(&mut self, worker: WorkerId, now: Instant) -> bool {
        let Some((key, State::Busy | State::Parked)) = self.found(worker) else {
            return false;
        };
        self.resume(worker);
        self.set(worker, State::Idle);
        self.idle += 1;
        self.occupy(key.site, -1);
        if let Some(group) = self.groups.get_mut(&key) {
            group.busy -= 1;
            group.completed += 1;
            group.idle.push((worker, now));
        }
        self.dismiss_outdated(key, worker, now);
        self.look_at(key, now);
        self.settle(now);
        true
    }

    /// A worker must not be used again. A kept one's replacement is ordered first, where there is room.
    pub(super) fn lost(&mut self, worker: WorkerId, why: &'static str, now: Instant) {
        let Some((key, state)) = self.found(worker) else {
            return;
        };
        if state == State::Dying {
            return;
        }
        self.leave(worker);
        self.lacks(key);
        // Before it is killed, so that the next call need not wait for its end.
        let room = !self.closed && self.counted() < self.bounds.workers;
        if room && self.groups.get(&key).is_some_and(Group::lacks_a_kept_one) {
            self.start(key, false);
        }
        self.set_dying(worker, why);
        self.look_at(key, now);
        self.settle(now);
    }

    /// A worker's process has ended, whether that was ordered or not.
    pub(super) fn exited(&mut self, worker: WorkerId, now: Instant) {
        let Some((key, state)) = self.found(worker) else {
            return;
        };
        match state {
            State::Starting { .. } => {
                // Whoever loads it tells those who wait why.
                if let Some(entry) = self.workers.get_mut(&worker) {
                    entry.ended = true;
                }
                return;
            }
            State::Dying => {
                self.dying -= 1;
                if let Some(group) = self.groups.get_mut(&key) {
                    group.dying -= 1;
                }
            }
            State::Idle | State::Busy | State::Parked => self.leave(worker),
        }
        self.workers.remove(&worker);
        self.change(key.site, |site| site.processes -= 1);
        self.lacks(key);
        self.look_at(key, now);
        self.settle(now);
        self.tidy(key);
    }

    /// The run on this worker waits for a run that it caused: others may have the place meanwhile.
    pub(super) fn park(&mut self, worker: WorkerId, now: Instant) {
        if let Some((key, State::Busy)) = self.found(worker) {
            self.set(worker, State::Parked);
            self.parked += 1;
            self.occupy(key.site, -1);
            self.change(key.site, |site| site.processes -= 1);
            if let Some(group) = self.groups.get_mut(&key) {
                group.busy -= 1;
                group.parked += 1;
            }
            self.look_at(key, now);
            self.settle(now);
        }
    }

    /// It goes on. Never waits: whoever it waited for has ended.
    pub(super) fn resume(&mut self, worker: WorkerId) {
        if let Some((key, State::Parked)) = self.found(worker) {
            self.set(worker, State::Busy);
            self.parked -= 1;
            self.occupy(key.site, 1);
            self.change(key.site, |site| site.processes += 1);
            if let Some(group) = self.groups.get_mut(&key) {
                group.busy += 1;
                group.parked -= 1;
            }
        }
    }

    /// Whether one worker of a version stays.
    pub(super) fn keep(&mut self, key: Key, function: FunctionId, keep: bool, now: Instant) {
        if !keep {
            if let Some(group) = self.groups.get_mut(&key) {
                group.keep = false;
            }
            self.tidy(key);
            return;
        }
        let group = self.group(key, function);
        group.keep = true;
        group.retired = false;
        group.unloadable = false;
        self.lacks(key);
        self.settle(now);
    }

    /// Workers of a version were started with other options than it has now: they are replaced as they
    /// become free.
    pub(super) fn outdate(&mut self, key: Key, now: Instant) {
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        group.generation += 1;
        let idle: Vec<_> = group.idle.iter().map(|(worker, _)| *worker).collect();
        for worker in idle {
            self.lost(worker, "outdated", now);
        }
    }

    /// Lets the workers of a function go: all but those that were loaded with what is active now.
    pub(super) fn retire(
        &mut self,
        site: SiteId,
        function: FunctionId,
        active: Option<Image>,
        now: Instant,
    ) {
        let of_it = |(key, group): (&Key, &Group)| {
            let is = key.site == site && group.function == function && Some(key.image) != active;
            is.then_some(*key)
        };
        let leaving: Vec<_> = self.groups.iter().filter_map(of_it).collect();
        for key in leaving {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            group.keep = false;
            group.retired = true;
            let idle: Vec<_> = group.idle.iter().map(|(worker, _)| *worker).collect();
            for worker in idle {
                self.lost(worker, "retired", now);
            }
            self.tidy(key);
        }
    }

    /// To be called every few milliseconds while anybody waits: refuses those whose time is up, and lets
    /// versions grow whose queues have not shrunk for [`Bounds::growth`], or, where no processor is to
    /// `spare`, for [`Bounds::patience`].
    pub(super) fn tick(&mut self, now: Instant, spare: bool) {
        let growth = match spare {
            true => self.bounds.growth,
            false => self.bounds.patience,
        };
        let waited_for: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| !group.waiters.is_empty())
            .map(|(key, _)| *key)
            .collect();
        for &key in &waited_for {
            self.expire(key, now);
            if let Some(group) = self.groups.get_mut(&key) {
                group.grow(now, growth);
            }
            self.look_at(key, now);
        }
        self.settle(now);
        waited_for.into_iter().for_each(|key| self.tidy(key));
    }

    /// Lets workers go that have not been used for long, and restores kept ones where there is room.
    pub(super) fn let_idle_go(&mut self, now: Instant) {
        let mut leaving = Vec::new();
        for group in self.groups.values() {
            let stay = usize::from(group.keep);
            let old = |(_, since): &&(WorkerId, Instant)| {
                now.saturating_duration_since(*since) >= self.bounds.idle
            };
            let most = group.idle.len().saturating_sub(stay);
            leaving.extend(group.idle.iter().take(most).take_while(old).map(|it| it.0));
        }
        for worker in leaving {
            self.lost(worker, "idle", now);
        }
        self.settle(now);
    }

    /// Nobody gets a worker any more. Returns who waits.
    pub(super) fn close(&mut self) -> Vec<Ticket> {
        self.closed = true;
        let mut told = Vec::new();
        for group in self.groups.values_mut() {
            told.extend(group.waiters.drain(..).map(|waiter| waiter.ticket));
        }
        self.waited_for = 0;
        self.orders.clear();
        told
    }
}

/// Keeping the books.
impl Ledger {
    fn group(&mut self, key: Key, function: FunctionId) -> &mut Group {
        let sites = &mut self.sites;
        self.groups.entry(key).or_insert_with(|| {
            sites.entry(key.site).or_default().groups += 1;
            Group::new(function)
        })
    }

    fn found(&self, worker: WorkerId) -> Option<(Key, State)> {
        let entry = self.workers.get(&worker)?;
        Some((entry.key, entry.state))
    }

    fn set(&mut self, worker: WorkerId, state: State) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.state = state;
        }
    }

    /// Processes that count: those whose runs wait for runs of their own do not, up to a bound.
    fn counted(&self) -> usize {
        self.workers.len() - self.parked.min(self.bounds.parked())
    }

    fn change(&mut self, id: SiteId, change: impl FnOnce(&mut Site)) {
        let site = self.sites.entry(id).or_default();
        let before = site.is_active();
        change(site);
        match (before, site.is_active()) {
            (false, true) => self.active += 1,
            (true, false) => self.active -= 1,
            _ => {}
        }
    }

    /// A place of a site is used, or is not any more.
    fn occupy(&mut self, site: SiteId, by: isize) {
        self.busy = self.busy.saturating_add_signed(by);
        self.change(site, |site| site.busy = site.busy.saturating_add_signed(by));
    }

    /// Changes who waits, and notes whether anybody still does.
    fn with_waiters(&mut self, key: Key, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        let before = !group.waiters.is_empty();
        change(group);
        group.trim();
        if before && group.waiters.is_empty() {
            self.waited_for -= 1;
            self.change(key.site, |site| site.waited_for -= 1);
        }
    }

    fn expire(&mut self, key: Key, now: Instant) {
        let full = self.why_none(key);
        let mut late = Vec::new();
        self.with_waiters(key, |group| {
            group.waiters.retain(|waiter| {
                let in_time = now < waiter.deadline;
                if !in_time {
                    late.push(waiter.ticket);
                }
                in_time
            });
        });
        let refuse = |ticket| Order::Refuse { ticket, full };
        self.orders.extend(late.into_iter().map(refuse));
    }

    fn why_none(&self, key: Key) -> Full {
        let Some(group) = self.groups.get(&key) else {
            return Full::Server(self.bounds.workers);
        };
        let site = self.sites.get(&key.site).map_or(0, |site| site.processes);
        if group.loaded() == 0 && group.starting > 0 {
            Full::Loading
        } else if group.running() >= group.most {
            Full::Function(group.most)
        } else if site >= self.bounds.per_site || self.counted() < self.bounds.workers {
            Full::Site
        } else {
            Full::Server(self.bounds.workers)
        }
    }

    /// Takes a worker out of whatever it does; its end is about to be noted.
    fn leave(&mut self, worker: WorkerId) {
        self.resume(worker);
        let Some((key, state)) = self.found(worker) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        match state {
            State::Starting { wanted } => {
                group.starting -= 1;
                self.occupy(key.site, -isize::from(wanted));
            }
            State::Idle => {
                group.idle.retain(|(idle, _)| *idle != worker);
                self.idle -= 1;
            }
            State::Busy => {
                group.busy -= 1;
                self.occupy(key.site, -1);
            }
            State::Parked | State::Dying => {}
        }
    }

    /// Orders the end of a worker that [`Self::leave`] has taken out.
    fn set_dying(&mut self, worker: WorkerId, why: &'static str) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.state = State::Dying;
            self.dying += 1;
            if let Some(group) = self.groups.get_mut(&entry.key) {
                group.dying += 1;
            }
            self.orders.push(Order::Kill { worker, why });
        }
    }

    /// A worker with other options than its version has now, or of a version that is over, goes.
    fn dismiss_outdated(&mut self, key: Key, worker: WorkerId, now: Instant) {
        let (Some(group), Some(entry)) = (self.groups.get(&key), self.workers.get(&worker)) else {
            return;
        };
        let is_over = group.retired && group.waiters.is_empty();
        if is_over || entry.generation != group.generation {
            self.lost(worker, "outdated", now);
        }
    }

    /// Notes that a kept version may have no worker.
    fn lacks(&mut self, key: Key) {
        if let Some(group) = self.groups.get_mut(&key)
            && group.lacks_a_kept_one()
            && !group.noted
        {
            group.noted = true;
            self.lacking.push_back(key);
        }
    }

    fn tidy(&mut self, key: Key) {
        if self.groups.get(&key).is_some_and(Group::is_unused) {
            self.groups.remove(&key);
            if let Some(site) = self.sites.get_mut(&key.site) {
                site.groups -= 1;
                if site.groups == 0 && site.processes == 0 && site.turn.is_empty() {
                    self.sites.remove(&key.site);
                }
            }
        }
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
