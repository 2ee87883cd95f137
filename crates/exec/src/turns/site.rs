//! One site's queued runs: its functions take turns.

use super::permits::Function;
use super::{Queued, most};
use std::collections::{HashMap, VecDeque};
use tollgate_core::ids::FunctionId;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::TaskRun;

#[derive(Default)]
pub(super) struct Site {
    lines: HashMap<FunctionId, Waiting>,
    /// Functions with something waiting; the first one is next.
    turn: VecDeque<FunctionId>,
    /// Slots.
    pub(super) running: usize,
    pub(super) kept: usize,
    /// It stands in the turns of the sites.
    pub(super) in_turn: bool,
}

/// A function's runs in memory.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    /// All its room, that of runs under way included.
    kept: usize,
    /// Slots.
    running: usize,
    /// It stands in the site's turns.
    in_turn: bool,
}

/// How many runs of its function there may be already when this one begins: fewer when nobody who is signed in
/// called it.
fn allowed(run: &TaskRun) -> u32 {
    let invocation = &run.invocation;
    let by_a_stranger = invocation.user_id.is_none() && invocation.event.is_none();
    match by_a_stranger {
        true => u32::try_from(limits::PUBLIC_CONCURRENCY).unwrap_or(u32::MAX),
        false => u32::MAX,
    }
}

impl Site {
    pub(super) fn kept_of(&self, function: FunctionId) -> usize {
        self.lines.get(&function).map_or(0, |line| line.kept)
    }

    pub(super) fn keep(&mut self, function: FunctionId, count: usize) {
        self.kept += count;
        self.lines.entry(function).or_default().kept += count;
    }

    /// Lines a run up.
    pub(super) fn push(&mut self, queued: Queued) {
        let function = queued.run.invocation.function_id;
        let line = self.lines.entry(function).or_default();
        line.queue.push_back(queued);
        if !std::mem::replace(&mut line.in_turn, true) {
            self.turn.push_back(function);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.turn.is_empty()
    }

    /// Whether the function may have another slot while `free` are free: its site must have fewer than
    /// are free, and it itself no more than twice what it leaves to the others of its site.
    fn may_run(&self, function: FunctionId, free: usize) -> bool {
        let own = self.lines.get(&function).map_or(0, |line| line.running);
        self.running < free && own <= 2 * (free - self.running)
    }

    /// The next run of a function that may run once more, with slot and permit.
    pub(super) fn pick(
        &mut self,
        free: usize,
        functions: &mut HashMap<FunctionId, Function>,
    ) -> Option<(Queued, FunctionId)> {
        for _ in 0..self.turn.len() {
            let function = self.turn.pop_front()?;
            let may_run = self.may_run(function, free);
            let Some(line) = self.lines.get_mut(&function) else {
                continue;
            };
            let picked = match line.queue.front() {
                Some(next) if may_run => {
                    let entry = functions.entry(function).or_default();
                    let granted =
                        entry.take_for_queue(most(&next.run.executable), allowed(&next.run));
                    granted.then(|| line.queue.pop_front()).flatten()
                }
                _ => None,
            };
            line.in_turn = !line.queue.is_empty();
            if line.in_turn {
                self.turn.push_back(function);
            }
            if let Some(queued) = picked {
                line.running += 1;
                self.running += 1;
                return Some((queued, function));
            }
        }
        None
    }

    /// The next run of this function, if it may have a slot. Its turn among the others stays as it is.
    pub(super) fn pick_of(&mut self, function: FunctionId, free: usize) -> Option<Queued> {
        if free == 0 || !self.may_run(function, free) {
            return None;
        }
        let line = self.lines.get_mut(&function)?;
        let queued = line.queue.pop_front()?;
        line.running += 1;
        self.running += 1;
        Some(queued)
    }

    /// Whether something waits that may run beside `running` others.
    pub(super) fn has_queued(&self, function: FunctionId, running: u32) -> bool {
        let next = self.lines.get(&function).and_then(|it| it.queue.front());
        next.is_some_and(|next| running < allowed(&next.run))
    }

    /// A slot that a run has again, or has no longer.
    pub(super) fn use_slot(&mut self, function: FunctionId, by: isize) {
        self.running = self.running.saturating_add_signed(by);
        if let Some(line) = self.lines.get_mut(&function) {
            line.running = line.running.saturating_add_signed(by);
        }
    }

    /// Room of a function. Its line goes with the last of it: whatever waits has room.
    pub(super) fn give_back(&mut self, function: FunctionId, count: usize) {
        self.kept -= count;
        if let Some(line) = self.lines.get_mut(&function) {
            line.kept -= count;
            if line.kept == 0 {
                self.lines.remove(&function);
            }
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.running == 0 && self.kept == 0 && !self.in_turn
    }
}
