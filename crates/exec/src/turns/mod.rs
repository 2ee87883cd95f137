//! Queued runs in memory and whose turn it is.
//!
//! Sites take turns, and within a site its functions do. No site may fill the house: it gets another
//! slot only while it runs fewer than are free, and more room in memory only while it has less than is
//! free. So one site alone gets half of everything, two get a third each, and there is always something left
//! for the next one. A site's functions share its room by the same rule, and its slots by a wider one. (It is
//! known from shared packet buffers as "dynamic thresholds": Choudhury and Hahne, IEEE/ACM Transactions on
//! Networking 6(2), 1998.)
//!
//! How many runs of a function there may be at the same time is kept here for whoever runs it
//! ([`permits`]): queued runs wait for a permit without a slot, and take turns with callers.

mod lent;
mod permits;
mod site;

pub(crate) use lent::{Permit, Slot};

use self::lent::BarePermit;
use self::permits::Function;
use self::site::Site;
use crate::held::Held;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tollgate_core::functions::Executable;
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::limits;
use tollgate_core::ports::dispatch::TaskRun;
use tollgate_core::ports::store::Line;

/// A run with its room in memory.
pub(crate) struct Queued {
    pub(crate) run: TaskRun,
    pub(crate) room: Room,
    pub(crate) held: Held,
}

/// Who waits and who runs. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Something may have become runnable.
    work: Notify,
    /// Room in memory became free.
    freed: Notify,
}

struct State {
    slots: usize,
    running: usize,
    capacity: usize,
    kept: usize,
    sites: HashMap<SiteId, Site>,
    /// Sites with something waiting; the first one is next.
    turn: VecDeque<SiteId>,
    /// Functions that run, or that somebody waits for.
    functions: HashMap<FunctionId, Function>,
    /// Runs whose turn came with a permit that was given back: slot and permit are theirs.
    ready: VecDeque<(Queued, Line)>,
}

/// Room in memory for runs of one function. Dropping it gives it back.
pub(crate) struct Room {
    turns: Turns,
    line: Line,
    count: usize,
}

/// Most runs of a function at the same time.
fn most(executable: &Executable) -> u32 {
    let asked = executable.options.max_concurrency;
    asked.unwrap_or(limits::CONCURRENCY_DEFAULT).max(1)
}

impl Turns {
    pub(crate) fn new(slots: usize, capacity: usize) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                slots,
                running: 0,
                capacity,
                kept: 0,
                sites: HashMap::new(),
                turn: VecDeque::new(),
                functions: HashMap::new(),
                ready: VecDeque::new(),
            }),
            work: Notify::new(),
            freed: Notify::new(),
        }))
    }

    /// Room for at most `count` runs of a function, as much as it and its site may have now.
    pub(crate) fn reserve(&self, line: Line, count: usize) -> Room {
        let mut state = self.0.state.lock();
        let site = state.sites.get(&line.site);
        let own = site.map_or(0, |site| site.kept_of(line.function));
        let count = count.min(fair(state.left(line.site), own));
        if count > 0 {
            state.kept += count;
            let site = state.sites.entry(line.site).or_default();
            site.keep(line.function, count);
        }
        drop(state);
        Room {
            turns: self.clone(),
            line,
            count,
        }
    }

    /// Whether a site may have more room in memory.
    pub(crate) fn has_room(&self, site: SiteId) -> bool {
        self.0.state.lock().left(site) > 0
    }

    /// Lines a run up.
    pub(crate) fn push(&self, queued: Queued) {
        let site_id = queued.run.invocation.site_id;
        let mut state = self.0.state.lock();
        let site = state.sites.entry(site_id).or_default();
        site.push(queued);
        if !std::mem::replace(&mut site.in_turn, true) {
            state.turn.push_back(site_id);
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// The next run and its slot, as soon as there are both.
    pub(crate) async fn next(&self) -> (Queued, Slot) {
        loop {
            let work = self.0.work.notified();
            let next = {
                let mut state = self.0.state.lock();
                let ready = state.ready.pop_front();
                ready.or_else(|| state.pick())
            };
            if let Some((queued, line)) = next {
                // One after the other: each call of `next` gives one.
                self.0.work.notify_one();
                return (queued, Slot::lent(self, line));
            }
            work.await;
        }
    }

    /// Waits until a function may run once more.
    pub(crate) async fn enter(&self, executable: &Executable) -> Permit {
        let line = Line {
            site: executable.site_id,
            function: executable.function_id,
        };
        let turn = {
            let mut state = self.0.state.lock();
            let entry = state.functions.entry(line.function).or_default();
            entry.enter(most(executable))
        };
        let bare = match turn {
            None => BarePermit::new(self, line),
            Some(turn) => self.granted(turn).await,
        };
        Permit::lent(self, line, bare)
    }

    /// A run of the function has ended, or waits for another one: whoever is next may run.
    fn leave(&self, line: Line) {
        let mut state = self.0.state.lock();
        state.hand_on(self, line);
        drop(state);
        self.0.work.notify_one();
    }

    /// Waits until room in memory has become free since the last time.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

/// How much more somebody gets who has `own` while `free` is left: each one granted is one less
/// that is free and one more that it has.
fn fair(free: usize, own: usize) -> usize {
    free.saturating_sub(own).div_ceil(2)
}

impl State {
    /// How much more room in memory a site may have.
    fn left(&self, site: SiteId) -> usize {
        let own = self.sites.get(&site).map_or(0, |site| site.kept);
        fair(self.capacity.saturating_sub(self.kept), own)
    }

    fn free_slots(&self) -> usize {
        self.slots.saturating_sub(self.running)
    }

    /// The next run in turn that may have a slot and a permit, which are its own from now on.
    fn pick(&mut self) -> Option<(Queued, Line)> {
        let free = self.free_slots();
        if free == 0 {
            return None;
        }
        for _ in 0..self.turn.len() {
            let site_id = self.turn.pop_front()?;
            let Some(site) = self.sites.get_mut(&site_id) else {
                continue;
            };
            let picked = site.pick(free, &mut self.functions);
            site.in_turn = site.is_waiting();
            if site.in_turn {
                self.turn.push_back(site_id);
            } else if site.is_unused() {
                self.sites.remove(&site_id);
            }
            if let Some((queued, function)) = picked {
                self.running += 1;
                let line = Line {
                    site: site_id,
                    function,
                };
                return Some((queued, line));
            }
        }
        None
    }

    /// A run of this function that may have a slot; its permit is there.
    fn pick_of(&mut self, line: Line) -> bool {
        let free = self.free_slots();
        let site = self.sites.get_mut(&line.site);
        let Some(queued) = site.and_then(|site| site.pick_of(line.function, free)) else {
            return false;
        };
        self.running += 1;
        self.ready.push_back((queued, line));
        true
    }

    fn change(&mut self, id: SiteId, change: impl FnOnce(&mut Site)) {
        if let Some(site) = self.sites.get_mut(&id) {
            change(site);
            if site.is_unused() {
                self.sites.remove(&id);
            }
        }
    }
}

impl Room {
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Room for one run, out of this.
    pub(crate) fn split(&mut self) -> Option<Self> {
        self.count = self.count.checked_sub(1)?;
        Some(Self {
            turns: self.turns.clone(),
            line: self.line,
            count: 1,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut state = self.turns.0.state.lock();
        state.kept -= self.count;
        state.change(self.line.site, |site| {
            site.give_back(self.line.function, self.count);
        });
        drop(state);
        self.turns.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
