//! How many runs of a function there are, and who is next: runs that go on after they waited for another one
//! first, then callers and queued runs in turn.

use super::lent::BarePermit;
use super::{State, Turns};
use std::collections::VecDeque;
use tokio::sync::oneshot;
use tollgate_core::ports::store::Line;

/// Tells somebody who waits that it has the permit.
type Grant = oneshot::Sender<BarePermit>;

#[derive(Default)]
pub(super) struct Function {
    running: u32,
    most: u32,
    /// Runs that go on.
    returning: VecDeque<Grant>,
    callers: VecDeque<Grant>,
    /// A permit is kept for the queue, which had no slot when its turn came.
    for_queue: bool,
    /// The permit before went to a caller.
    caller_was_last: bool,
}

impl Function {
    /// A caller's permit, at once or as soon as it is its turn.
    pub(super) fn enter(&mut self, most: u32) -> Option<oneshot::Receiver<BarePermit>> {
        self.most = most;
        let crowded = !self.callers.is_empty() || !self.returning.is_empty();
        if self.running < most && !crowded {
            self.running += 1;
            self.caller_was_last = true;
            return None;
        }
        let (grant, turn) = oneshot::channel();
        self.callers.push_back(grant);
        Some(turn)
    }

    /// The same for a run that had one and goes on.
    fn return_to(&mut self) -> Option<oneshot::Receiver<BarePermit>> {
        if self.running < self.most.max(1) {
            self.running += 1;
            return None;
        }
        let (grant, turn) = oneshot::channel();
        self.returning.push_back(grant);
        Some(turn)
    }

    /// A queued run's permit, if there are fewer runs than `allowed`.
    pub(super) fn take_for_queue(&mut self, most: u32, allowed: u32) -> bool {
        self.most = most;
        if self.running - u32::from(self.for_queue) >= allowed {
            return false;
        }
        if self.for_queue {
            self.for_queue = false;
        } else if self.running < most && self.returning.is_empty() && self.callers.is_empty() {
            self.running += 1;
        } else {
            return false;
        }
        self.caller_was_last = false;
        true
    }

    fn is_unused(&self) -> bool {
        self.running == 0 && self.callers.is_empty() && self.returning.is_empty()
    }
}

impl Turns {
    /// Waits for a permit that was granted to whoever holds `turn`.
    pub(super) async fn granted(&self, turn: oneshot::Receiver<BarePermit>) -> BarePermit {
        // The sender is dropped only with the whole list, which then bounds nothing.
        turn.await.unwrap_or_else(|_| BarePermit::none(self))
    }

    /// A permit for a run that had one.
    pub(super) async fn return_to(&self, line: Line) -> BarePermit {
        let turn = {
            let mut state = self.0.state.lock();
            let entry = state.functions.entry(line.function).or_default();
            entry.return_to()
        };
        match turn {
            None => BarePermit::new(self, line),
            Some(turn) => self.granted(turn).await,
        }
    }

    /// Hands a permit to somebody, unless that one has gone.
    fn offer(&self, grant: Grant, line: Line) -> bool {
        match grant.send(BarePermit::new(self, line)) {
            Ok(()) => true,
            // It must not be given back under the lock.
            Err(mut permit) => {
                permit.forget();
                false
            }
        }
    }
}

impl State {
    /// A permit was given back. Where callers wait, every other one is the queue's; where none does, the
    /// queue takes it when the function's turn comes.
    pub(super) fn hand_on(&mut self, turns: &Turns, line: Line) {
        let Some(entry) = self.functions.get_mut(&line.function) else {
            return;
        };
        entry.running = entry.running.saturating_sub(1);
        while let Some(entry) = self.functions.get_mut(&line.function)
            && entry.running < entry.most.max(1)
        {
            if let Some(grant) = entry.returning.pop_front() {
                entry.running += u32::from(turns.offer(grant, line));
                continue;
            }
            let (site, running) = (self.sites.get(&line.site), entry.running);
            let queued = site.is_some_and(|site| site.has_queued(line.function, running));
            let for_queue = queued && !entry.for_queue;
            if for_queue && entry.caller_was_last && !entry.callers.is_empty() {
                entry.running += 1;
                entry.caller_was_last = false;
                if !self.pick_of(line)
                    && let Some(entry) = self.functions.get_mut(&line.function)
                {
                    entry.for_queue = true;
                }
                continue;
            }
            let Some(grant) = entry.callers.pop_front() else {
                break;
            };
            if turns.offer(grant, line) {
                entry.running += 1;
                entry.caller_was_last = true;
            }
        }
        if self
            .functions
            .get(&line.function)
            .is_some_and(Function::is_unused)
        {
            self.functions.remove(&line.function);
        }
    }
}
