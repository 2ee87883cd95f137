//! The workers of one version, who waits for them, and how many more it wants.

use super::{Ticket, WorkerId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tollgate_core::ids::FunctionId;

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) depth: u32,
    pub(super) deadline: Instant,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) function: FunctionId,
    pub(super) most: usize,
    /// Who is deeper in a chain first, since others wait for it; else who came first.
    pub(super) waiters: VecDeque<Waiter>,
    /// Least recently used first.
    pub(super) idle: Vec<(WorkerId, Instant)>,
    pub(super) busy: usize,
    pub(super) parked: usize,
    pub(super) starting: usize,
    pub(super) dying: usize,
    /// Places that become free for it.
    pub(super) promised: usize,
    /// Further workers that it wants and has no place for.
    pub(super) hungry: usize,
    pub(super) hungry_since: Option<Instant>,
    /// Calls answered, ever, and until the last look at its queue, and when that was.
    pub(super) completed: u64,
    pub(super) seen: u64,
    pub(super) looked: Option<Instant>,
    /// One idle worker stays, and is replaced.
    pub(super) keep: bool,
    /// The last start has not succeeded: only a call tries again.
    pub(super) unloadable: bool,
    /// Another version took its place.
    pub(super) retired: bool,
    pub(super) generation: u32,
    /// It stands in its site's line of turns.
    pub(super) in_turn: bool,
    /// It stands in the list of those that lack a kept worker.
    pub(super) noted: bool,
}

impl Group {
    pub(super) const fn new(function: FunctionId) -> Self {
        Self {
            function,
            most: usize::MAX,
            waiters: VecDeque::new(),
            idle: Vec::new(),
            busy: 0,
            parked: 0,
            starting: 0,
            dying: 0,
            promised: 0,
            hungry: 0,
            hungry_since: None,
            completed: 0,
            seen: 0,
            looked: None,
            keep: false,
            unloadable: false,
            retired: false,
            generation: 0,
            in_turn: false,
            noted: false,
        }
    }

    /// Its queue begins now: what was answered before says nothing about it.
    pub(super) fn begin_queue(&mut self, now: Instant) {
        self.seen = self.completed;
        self.looked = Some(now);
    }

    pub(super) fn line_up(&mut self, waiter: Waiter) {
        let ahead = |other: &Waiter| other.depth >= waiter.depth;
        let place = self.waiters.iter().rposition(ahead).map_or(0, |at| at + 1);
        self.waiters.insert(place, waiter);
    }

    /// Workers that have loaded.
    pub(super) fn loaded(&self) -> usize {
        self.idle.len() + self.busy + self.parked
    }

    /// What counts towards `max_concurrency`. Dying ones do: they may still run.
    pub(super) fn running(&self) -> usize {
        self.idle.len() + self.busy + self.starting + self.dying + self.promised
    }

    /// Workers on their way.
    const fn coming(&self) -> usize {
        self.starting + self.promised + self.hungry
    }

    fn may_want(&self) -> bool {
        self.waiters.len() > self.coming() + self.idle.len()
            && self.running() + self.hungry < self.most
    }

    /// Wants another one at once while it has fewer than `eager`.
    pub(super) fn want_eagerly(&mut self, eager: usize) {
        if self.may_want() && self.running() - self.dying + self.hungry < eager.max(1) {
            self.hungry += 1;
        }
    }

    /// Wants more only if the calls answered since the last look would not have emptied the queue: fast
    /// functions need no process per concurrent call, slow ones do. Their number at most doubles from
    /// one look to the next, and not before one is loaded: until then nobody knows. Looks that follow each
    /// other faster than `at_least` count as one, else they would see a queue that has hardly begun.
    pub(super) fn grow(&mut self, now: Instant, at_least: Duration) {
        let looked = self.looked.get_or_insert(now);
        if now.saturating_duration_since(*looked) < at_least {
            return;
        }
        *looked = now;
        let done = usize::try_from(self.completed - self.seen).unwrap_or(usize::MAX);
        self.seen = self.completed;
        let missing = self.waiters.len().saturating_sub(done);
        let missing = missing.saturating_sub(self.coming());
        for _ in 0..missing.min(self.idle.len() + self.busy) {
            if self.may_want() {
                self.hungry += 1;
            }
        }
    }

    /// Wants no more than somebody waits for.
    pub(super) fn trim(&mut self) {
        let wanted = self.waiters.len();
        let coming = self.starting + self.promised;
        self.hungry = self.hungry.min(wanted.saturating_sub(coming));
        if self.hungry == 0 {
            self.hungry_since = None;
        }
    }

    /// There is something to be served.
    pub(super) fn is_pending(&self) -> bool {
        !self.waiters.is_empty() && (!self.idle.is_empty() || self.hungry > 0)
    }

    /// A place that becomes free is still wanted.
    pub(super) fn wants_promised(&self) -> bool {
        self.waiters.len() > self.starting + self.idle.len()
    }

    /// One worker is to stay, and there is none.
    pub(super) fn lacks_a_kept_one(&self) -> bool {
        let live = self.loaded() + self.starting + self.promised;
        self.keep && !self.unloadable && live == 0
    }

    pub(super) fn is_unused(&self) -> bool {
        let processes = self.loaded() + self.starting + self.dying;
        processes == 0
            && self.promised == 0
            && self.waiters.is_empty()
            && !self.keep
            && !self.in_turn
            && !self.noted
    }
}
