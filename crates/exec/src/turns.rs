//! Queued runs in memory and whose turn it is.
//!
//! Sites take turns, and within a site its functions do. No site may fill the house: it gets another
//! slot only while it runs fewer than are free, and another place in memory only while it has
//! fewer than are free. So one site alone gets half of everything, two get a third each, and there
//! is always something left for the next one. (The rule is known from shared packet buffers as
//! "dynamic thresholds": Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.)
//!
//! A function's `max_concurrency` is kept here for whoever runs it: queued runs wait for it without
//! a slot, callers are served first.

use crate::held::Held;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use tollgate_core::function::Executable;
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::ports::dispatch::TaskRun;

/// A run with its place in memory.
pub(crate) struct Queued {
    pub(crate) run: TaskRun,
    pub(crate) room: Room,
    pub(crate) held: Held,
    /// Its record already says "running".
    pub(crate) shown: bool,
}

/// Who waits and who runs. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Something may have become runnable.
    work: Notify,
    /// A place in memory became free.
    freed: Notify,
}

struct State {
    slots: usize,
    running: usize,
    places: usize,
    kept: usize,
    sites: HashMap<SiteId, Site>,
    /// Sites with something waiting; the first one is next.
    turn: VecDeque<SiteId>,
    /// Functions with a bound of their own that run, or that somebody waits for.
    functions: HashMap<FunctionId, Function>,
}

#[derive(Default)]
struct Site {
    waiting: HashMap<FunctionId, VecDeque<Queued>>,
    /// Functions with something waiting; the first one is next.
    turn: VecDeque<FunctionId>,
    running: usize,
    kept: usize,
}

#[derive(Default)]
struct Function {
    running: u32,
    callers: VecDeque<oneshot::Sender<FunctionPlace>>,
}

/// Places in memory of one site. Dropping them gives them back.
pub(crate) struct Room {
    turns: Turns,
    site: SiteId,
    count: usize,
}

/// A slot of a queued run. Dropping it gives it back.
pub(crate) struct Slot {
    turns: Turns,
    site: SiteId,
    /// The place that goes with it, for a function with a bound of its own.
    _function: Option<FunctionPlace>,
}

/// One of the runs that a function may have at the same time. Dropping it gives it back.
pub(crate) struct FunctionPlace {
    turns: Turns,
    /// None once it was given back.
    function: Option<FunctionId>,
}

fn bound(executable: &Executable) -> Option<u32> {
    executable.options.max_concurrency.map(|most| most.max(1))
}

impl Turns {
    pub(crate) fn new(slots: usize, places: usize) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                slots,
                running: 0,
                places,
                kept: 0,
                sites: HashMap::new(),
                turn: VecDeque::new(),
                functions: HashMap::new(),
            }),
            work: Notify::new(),
            freed: Notify::new(),
        }))
    }

    /// Room for at most `count` runs of a site, as much as it may have now.
    pub(crate) fn reserve(&self, site: SiteId, count: usize) -> Room {
        let mut state = self.0.state.lock();
        let free = state.places.saturating_sub(state.kept);
        let own = state.sites.get(&site).map_or(0, |site| site.kept);
        // Each one granted is one less that is free and one more that it has.
        let count = count.min(free.saturating_sub(own).div_ceil(2));
        if count > 0 {
            state.kept += count;
            state.sites.entry(site).or_default().kept += count;
        }
        drop(state);
        Room {
            turns: self.clone(),
            site,
            count,
        }
    }

    /// Lines a run up.
    pub(crate) fn push(&self, queued: Queued) {
        let site_id = queued.run.invocation.site_id;
        let function = queued.run.invocation.function_id;
        let mut state = self.0.state.lock();
        let site = state.sites.entry(site_id).or_default();
        let is_first = site.turn.is_empty();
        let line = site.waiting.entry(function).or_default();
        if line.is_empty() {
            site.turn.push_back(function);
        }
        line.push_back(queued);
        if is_first {
            state.turn.push_back(site_id);
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// The next run and its slot, as soon as there are both.
    pub(crate) async fn next(&self) -> (Queued, Slot) {
        loop {
            let work = self.0.work.notified();
            if let Some(next) = self.pick() {
                return next;
            }
            work.await;
        }
    }

    fn pick(&self) -> Option<(Queued, Slot)> {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let free = state.slots.saturating_sub(state.running);
        if free == 0 {
            return None;
        }
        for _ in 0..state.turn.len() {
            let site_id = state.turn.pop_front()?;
            let Some(site) = state.sites.get_mut(&site_id) else {
                continue;
            };
            let picked = (site.running < free)
                .then(|| site.pick(&mut state.functions))
                .flatten();
            if !site.turn.is_empty() {
                state.turn.push_back(site_id);
            }
            if let Some((queued, bounded)) = picked {
                site.running += 1;
                state.running += 1;
                let _function = bounded.then(|| FunctionPlace {
                    turns: self.clone(),
                    function: Some(queued.run.invocation.function_id),
                });
                let slot = Slot {
                    turns: self.clone(),
                    site: site_id,
                    _function,
                };
                return Some((queued, slot));
            }
        }
        None
    }

    /// Waits until a function with a bound of its own may run once more. None: it has no bound.
    pub(crate) async fn enter(&self, executable: &Executable) -> Option<FunctionPlace> {
        let most = bound(executable)?;
        let function = executable.function_id;
        let turn = {
            let mut state = self.0.state.lock();
            let entry = state.functions.entry(function).or_default();
            if entry.running < most {
                entry.running += 1;
                return Some(FunctionPlace {
                    turns: self.clone(),
                    function: Some(function),
                });
            }
            let (sender, turn) = oneshot::channel();
            entry.callers.push_back(sender);
            turn
        };
        // The sender is dropped only with the whole list.
        turn.await.ok()
    }

    /// A run of the function has ended: the caller that has waited longest is next.
    fn leave(&self, function: FunctionId) {
        let mut state = self.0.state.lock();
        let Some(entry) = state.functions.get_mut(&function) else {
            return;
        };
        while let Some(caller) = entry.callers.pop_front() {
            let place = FunctionPlace {
                turns: self.clone(),
                function: Some(function),
            };
            match caller.send(place) {
                Ok(()) => return,
                // It went away. Its place must not be given back under this lock.
                Err(mut place) => place.function = None,
            }
        }
        entry.running = entry.running.saturating_sub(1);
        if entry.running == 0 {
            state.functions.remove(&function);
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// Waits until a place in memory has become free since the last time.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Site {
    /// The next run of a function that may run once more, and whether it has a bound of its own.
    fn pick(&mut self, functions: &mut HashMap<FunctionId, Function>) -> Option<(Queued, bool)> {
        for _ in 0..self.turn.len() {
            let function = self.turn.pop_front()?;
            let Some(line) = self.waiting.get_mut(&function) else {
                continue;
            };
            let most = line.front().and_then(|next| bound(&next.run.executable));
            let may_run = most.is_none_or(|most| {
                let entry = functions.get(&function);
                entry.is_none_or(|entry| entry.running < most && entry.callers.is_empty())
            });
            let picked = if may_run { line.pop_front() } else { None };
            if line.is_empty() {
                self.waiting.remove(&function);
            } else {
                self.turn.push_back(function);
            }
            if let Some(queued) = picked {
                if most.is_some() {
                    functions.entry(function).or_default().running += 1;
                }
                return Some((queued, most.is_some()));
            }
        }
        None
    }

    fn is_unused(&self) -> bool {
        self.running == 0 && self.kept == 0 && self.turn.is_empty()
    }
}

impl State {
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

    /// One place of it.
    pub(crate) fn split(&mut self) -> Option<Self> {
        self.count = self.count.checked_sub(1)?;
        Some(Self {
            turns: self.turns.clone(),
            site: self.site,
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
        state.change(self.site, |site| site.kept -= self.count);
        drop(state);
        self.turns.0.freed.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.turns.0.state.lock();
        state.running -= 1;
        state.change(self.site, |site| site.running -= 1);
        drop(state);
        self.turns.0.work.notify_one();
    }
}

impl Drop for FunctionPlace {
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            self.turns.leave(function);
        }
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
