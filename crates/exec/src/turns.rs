//! Queued runs in memory and whose turn it is.
//!
//! Sites take turns, and within a site its functions do. No site may fill the house: it gets another
//! slot only while it runs fewer than are free, and another place in memory only while it has
//! fewer than are free. So one site alone gets half of everything, two get a third each, and there
//! is always something left for the next one. A site's functions share its places in memory by the
//! same rule. (It is known from shared packet buffers as "dynamic thresholds": Choudhury and
//! Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.)
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
use tollgate_core::ports::store::Line;

/// A run with its place in memory.
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
    lines: HashMap<FunctionId, Waiting>,
    /// Functions with something waiting; the first one is next.
    turn: VecDeque<FunctionId>,
    running: usize,
    kept: usize,
}

/// A function's runs in memory.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    /// All its places, those of runs under way included.
    kept: usize,
}

#[derive(Default)]
struct Function {
    running: u32,
    callers: VecDeque<oneshot::Sender<FunctionPlace>>,
}

/// Places in memory of one function. Dropping them gives them back.
pub(crate) struct Room {
    turns: Turns,
    line: Line,
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

    /// Room for at most `count` runs of a function, as much as it and its site may have now.
    pub(crate) fn reserve(&self, line: Line, count: usize) -> Room {
        let mut state = self.0.state.lock();
        let site = state.sites.get(&line.site);
        let of_function = site.and_then(|site| site.lines.get(&line.function));
        let own = of_function.map_or(0, |line| line.kept);
        let count = count.min(fair(state.left(line.site), own));
        if count > 0 {
            state.kept += count;
            let site = state.sites.entry(line.site).or_default();
            site.kept += count;
            site.lines.entry(line.function).or_default().kept += count;
        }
        drop(state);
        Room {
            turns: self.clone(),
            line,
            count,
        }
    }

    /// Whether a site may have another place in memory.
    pub(crate) fn has_room(&self, site: SiteId) -> bool {
        self.0.state.lock().left(site) > 0
    }

    /// Lines a run up.
    pub(crate) fn push(&self, queued: Queued) {
        let site_id = queued.run.invocation.site_id;
        let function = queued.run.invocation.function_id;
        let mut state = self.0.state.lock();
        let site = state.sites.entry(site_id).or_default();
        let is_first = site.turn.is_empty();
        let line = site.lines.entry(function).or_default();
        if line.queue.is_empty() {
            site.turn.push_back(function);
        }
        line.queue.push_back(queued);
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
            let Some(line) = self.lines.get_mut(&function) else {
                continue;
            };
            let most = line
                .queue
                .front()
                .and_then(|next| bound(&next.run.executable));
            let may_run = most.is_none_or(|most| {
                let entry = functions.get(&function);
                entry.is_none_or(|entry| entry.running < most && entry.callers.is_empty())
            });
            let picked = if may_run {
                line.queue.pop_front()
            } else {
                None
            };
            if !line.queue.is_empty() {
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

    /// Places of a function. Its line goes with the last one: whatever waits has a place.
    fn give_back(&mut self, function: FunctionId, count: usize) {
        self.kept -= count;
        if let Some(line) = self.lines.get_mut(&function) {
            line.kept -= count;
            if line.kept == 0 {
                self.lines.remove(&function);
            }
        }
    }

    fn is_unused(&self) -> bool {
        self.running == 0 && self.kept == 0 && self.turn.is_empty()
    }
}

/// How many more somebody gets who has `own` while `free` are left: each one granted is one less
/// that is free and one more that it has.
fn fair(free: usize, own: usize) -> usize {
    free.saturating_sub(own).div_ceil(2)
}

impl State {
    /// How many more places in memory a site may have.
    fn left(&self, site: SiteId) -> usize {
        let own = self.sites.get(&site).map_or(0, |site| site.kept);
        fair(self.places.saturating_sub(self.kept), own)
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

    /// One place of it.
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
