//! Who is next, and who has to go for it.
//!
//! Sites take turns, and within a site its versions do. A worker that is let go is let go for somebody:
//! the place is promised and cannot be taken by anybody else. What a site uses beyond its share is the first
//! to go, and the longest idle before the others. Neither one function nor one site gets the last places,
//! and kept workers never do.

use super::group::Group;
use super::{Entry, Key, Ledger, Order, State, WorkerId};
use std::time::{Duration, Instant};
use tollgate_core::ids::SiteId;

/// How long a version's workers serve its own queue before one of them may be let go for somebody else's: less
/// than a start costs would be spent on starts alone.
pub(super) const SLICE: Duration = Duration::from_millis(50);

impl Ledger {
    /// Hands out and orders whatever is possible now.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.keep_promises(now);
        let mut in_vain = 0;
        while in_vain < self.turn.len() {
            let Some(site) = self.turn.pop_front() else {
                break;
            };
            let served = self.serve_site(site, now);
            if self.sites.get(&site).is_some_and(|it| !it.turn.is_empty()) {
                self.turn.push_back(site);
            }
            in_vain = if served { 0 } else { in_vain + 1 };
        }
        self.restore_kept();
    }

    /// A version's queue or workers have changed.
    pub(super) fn look_at(&mut self, key: Key, now: Instant) {
        let eager = self.bounds.eager;
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        group.trim();
        group.want_eagerly(eager);
        if group.hungry > 0 && group.hungry_since.is_none() {
            group.hungry_since = Some(now);
        }
        self.line_up(key);
    }

    /// Puts a version with something to be served into its site's line.
    fn line_up(&mut self, key: Key) {
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        if group.in_turn || !group.is_pending() {
            return;
        }
        group.in_turn = true;
        let site = self.sites.entry(key.site).or_default();
        if site.turn.is_empty() {
            self.turn.push_back(key.site);
        }
        site.turn.push_back(key);
    }

    /// Serves the next version of a site that can be served.
    fn serve_site(&mut self, site: SiteId, now: Instant) -> bool {
        let count = self.sites.get(&site).map_or(0, |it| it.turn.len());
        for _ in 0..count {
            let next = self.sites.get_mut(&site).and_then(|it| it.turn.pop_front());
            let Some(key) = next else { break };
            let served = self.serve(key, now);
            let pending = self.groups.get_mut(&key).is_some_and(|group| {
                group.in_turn = group.is_pending();
                group.in_turn
            });
            if pending && let Some(it) = self.sites.get_mut(&site) {
                it.turn.push_back(key);
            }
            if served {
                return true;
            }
        }
        false
    }

    /// Grants an idle worker, orders another, or lets one go for it.
    fn serve(&mut self, key: Key, now: Instant) -> bool {
        let Some(group) = self.groups.get(&key).filter(|group| group.is_pending()) else {
            return false;
        };
        let depth = group.waiters.front().map_or(0, |waiter| waiter.depth);
        if !self.may_have(key, depth) {
            return false;
        }
        if !group.idle.is_empty() {
            return self.grant(key);
        }
        if self.has_place(key.site, depth) {
            self.is_served(key, now);
            self.start(key, true);
            return true;
        }
        let Some(victim) = self.victim(key, depth, now) else {
            return false;
        };
        self.let_go(victim);
        self.is_served(key, now);
        self.promises.push_back(key);
        if let Some(group) = self.groups.get_mut(&key) {
            group.promised += 1;
        }
        self.occupy(key.site, 1);
        true
    }

    /// A version gets one of the workers that it wants.
    fn is_served(&mut self, key: Key, now: Instant) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.hungry -= 1;
            group.hungry_since = (group.hungry > 0).then_some(now);
        }
    }

    /// The longest waiting call gets the worker that was used last.
    pub(super) fn grant(&mut self, key: Key) -> bool {
        let both = |group: &Group| !group.idle.is_empty() && !group.waiters.is_empty();
        if !self.groups.get(&key).is_some_and(both) {
            return false;
        }
        let mut granted = None;
        self.with_waiters(key, |group| {
            let pair = group.idle.pop().zip(group.waiters.pop_front());
            granted = pair.map(|((worker, _), waiter)| (worker, waiter.ticket));
            group.busy += 1;
        });
        let Some((worker, ticket)) = granted else {
            return false;
        };
        self.idle -= 1;
        self.set(worker, State::Busy);
        self.occupy(key.site, 1);
        self.orders.push(Order::Grant { ticket, worker });
        true
    }

    /// Orders another worker, for somebody who waits or to be kept.
    pub(super) fn start(&mut self, key: Key, wanted: bool) {
        let worker = self.next_worker();
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        group.starting += 1;
        // Until the opposite is known, so that the news of a failed start's end starts no other.
        group.unloadable = true;
        let generation = group.generation;
        let state = State::Starting { wanted };
        let entry = Entry {
            key,
            state,
            generation,
            ended: false,
        };
        self.workers.insert(worker, entry);
        self.change(key.site, |site| site.processes += 1);
        self.occupy(key.site, isize::from(wanted));
        self.orders.push(Order::Start { worker, key });
    }

    /// Lets an idle worker go for somebody.
    fn let_go(&mut self, victim: WorkerId) {
        let key = self.found(victim).map(|(key, _)| key);
        self.leave(victim);
        self.set_dying(victim, "evicted");
        if let Some(key) = key {
            self.lacks(key);
        }
    }

    /// What is fair for a site now: there is always a part for the next one.
    pub(super) fn share(&self) -> usize {
        (self.bounds.workers / (self.active + 1)).max(1)
    }

    /// Whether another worker of a version may run.
    ///
    /// Within its share a site takes what is free, beyond it only while others find something left; and so
    /// does a function within its site. Who is deeper in a chain takes from what nobody else gets: its
    /// caller waits with a worker of its own.
    fn may_have(&self, key: Key, depth: u32) -> bool {
        let places = self.bounds.workers + usize::try_from(depth).unwrap_or(0);
        let parked = self.parked.saturating_sub(self.bounds.parked());
        let free = places.saturating_sub(self.busy + parked);
        if depth > 0 {
            return free > 0;
        }
        let (Some(site), Some(group)) = (self.sites.get(&key.site), self.groups.get(&key)) else {
            return false;
        };
        let (share, reserve) = (self.share(), self.bounds.reserve());
        let own = group.busy + group.starting + group.promised;
        // Of two workers one is for another function, of three one more is for another site.
        let for_sites = match site.busy {
            busy if busy < share || self.bounds.workers < 3 => 0,
            _ => reserve,
        };
        let for_functions = match own {
            0 => 0,
            own if own < share / 2 || self.bounds.workers < 2 => 0,
            _ => reserve,
        };
        free > for_sites + for_functions
    }

    /// Whether a process may be started.
    fn has_place(&self, site: SiteId, depth: u32) -> bool {
        let further = usize::try_from(depth).unwrap_or(0);
        self.counted() < self.bounds.workers + further && !self.fills_its_site(site, depth)
    }

    pub(super) fn fills_its_site(&self, site: SiteId, depth: u32) -> bool {
        let further = usize::try_from(depth).unwrap_or(0);
        let own = self.sites.get(&site).map_or(0, |site| site.processes);
        own >= self.bounds.per_site + further
    }

    /// The idle worker that has to go for `key`, if one may.
    fn victim(&self, key: Key, depth: u32, now: Instant) -> Option<WorkerId> {
        if self.idle == 0 {
            return None;
        }
        let share = self.share();
        let of = |site: SiteId| self.sites.get(&site).map_or(0, |site| site.processes);
        let own = of(key.site);
        let within_site = self.fills_its_site(key.site, depth);
        let hungry_since = self.groups.get(&key)?.hungry_since?;
        let patient = now.saturating_duration_since(hungry_since) >= SLICE;
        let candidates = self.groups.iter().filter_map(|(at, group)| {
            let (worker, since) = *group.idle.first()?;
            let (is_own, theirs) = (at.site == key.site, of(at.site));
            let last_kept = group.keep && group.idle.len() == 1;
            let waited_for = !group.waiters.is_empty();
            let takes_turns = patient && (is_own || own < theirs);
            let may_go = (is_own || !within_site)
                && (!waited_for || takes_turns)
                // Who has its share leaves to others what they keep within theirs.
                && (is_own || depth > 0 || own < share || theirs > share || !last_kept);
            (may_go && *at != key).then_some(((theirs <= share, last_kept, since), worker))
        });
        candidates.min_by_key(|(order, _)| *order).map(|it| it.1)
    }

    /// Places that have become free go to those for whom they were freed, the longest waiting first.
    fn keep_promises(&mut self, now: Instant) {
        while let Some(&key) = self.promises.front() {
            let wanted = self.groups.get(&key).is_some_and(|it| it.wants_promised());
            let depth = self.groups.get(&key).and_then(|it| it.waiters.front());
            let depth = depth.map_or(0, |waiter| waiter.depth);
            let further = usize::try_from(depth).unwrap_or(0);
            let free = self.counted() < self.bounds.workers + further
                && !self.fills_its_site(key.site, depth);
            if wanted && !free {
                break;
            }
            self.promises.pop_front();
            self.occupy(key.site, -1);
            if let Some(group) = self.groups.get_mut(&key) {
                group.promised -= 1;
            }
            if wanted {
                self.start(key, true);
            } else {
                self.look_at(key, now);
                self.lacks(key);
                self.tidy(key);
            }
        }
        self.back_promises(now);
    }

    /// A promise for which nobody dies any more, because a run went on that had waited for another one.
    fn back_promises(&mut self, now: Instant) {
        while self.promises.len() > self.dying {
            let Some(key) = self.promises.pop_back() else {
                return;
            };
            self.occupy(key.site, -1);
            if let Some(group) = self.groups.get_mut(&key) {
                group.promised -= 1;
                group.hungry += 1;
                group.hungry_since.get_or_insert(now);
                group.trim();
            }
            self.line_up(key);
            self.lacks(key);
            self.tidy(key);
        }
    }

    /// Kept workers, while more is left than has to be.
    fn restore_kept(&mut self) {
        let most = self.bounds.workers - self.bounds.reserve().min(self.bounds.workers);
        for _ in 0..self.lacking.len() {
            if self.counted() >= most || !self.promises.is_empty() {
                return;
            }
            let Some(key) = self.lacking.pop_front() else {
                return;
            };
            let lacks = self
                .groups
                .get(&key)
                .is_some_and(|it| it.lacks_a_kept_one());
            if lacks && self.fills_its_site(key.site, 0) {
                self.lacking.push_back(key);
                continue;
            }
            if let Some(group) = self.groups.get_mut(&key) {
                group.noted = false;
            }
            if lacks {
                self.start(key, false);
            } else {
                self.tidy(key);
            }
        }
    }
}
