//! Slots and permits in somebody's hands. A run gives both back while it waits for another one.

use super::Turns;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;
use tollgate_core::pause::Held;
use tollgate_core::ports::store::Line;

/// One of the runs that a function may have at the same time. Dropping it gives it back.
pub(crate) struct Permit(Arc<Lent<BarePermit>>);

/// A queued run's slot, with its function's permit. Dropping it gives both back.
pub(crate) struct Slot {
    slot: Arc<Lent<BareSlot>>,
    permit: Permit,
}

/// Something lent to a run, which may be given back for a while.
struct Lent<T> {
    turns: Turns,
    line: Line,
    state: Mutex<Hand<T>>,
}

/// Whose it is now.
enum Hand<T> {
    Run(T),
    Others,
    /// The run has ended, and wants nothing again.
    Ended,
}

impl<T> Lent<T> {
    fn new(turns: &Turns, line: Line, thing: T) -> Arc<Self> {
        Arc::new(Self {
            turns: turns.clone(),
            line,
            state: Mutex::new(Hand::Run(thing)),
        })
    }

    fn put(&self, hand: Hand<T>) {
        // What was there goes after the lock: it takes the lock of the turns.
        let before = {
            let mut state = self.state.lock();
            if matches!(*state, Hand::Ended) {
                hand
            } else {
                std::mem::replace(&mut *state, hand)
            }
        };
        drop(before);
    }

    fn is_away(&self) -> bool {
        matches!(*self.state.lock(), Hand::Others)
    }
}

impl Permit {
    pub(super) fn lent(turns: &Turns, line: Line, bare: BarePermit) -> Self {
        Self(Lent::new(turns, line, bare))
    }

    /// For [`tollgate_core::pause`].
    pub(crate) fn held(&self) -> Arc<dyn Held> {
        Arc::clone(&self.0) as _
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.put(Hand::Ended);
    }
}

impl Slot {
    /// Slot and permit, which the books say are lent already.
    pub(super) fn lent(turns: &Turns, line: Line) -> Self {
        let bare = BareSlot {
            turns: turns.clone(),
            line,
        };
        Self {
            slot: Lent::new(turns, line, bare),
            permit: Permit::lent(turns, line, BarePermit::new(turns, line)),
        }
    }

    /// For [`tollgate_core::pause`].
    pub(crate) fn held(&self) -> [Arc<dyn Held>; 2] {
        [self.permit.held(), Arc::clone(&self.slot) as _]
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slot.put(Hand::Ended);
    }
}

#[async_trait]
impl Held for Lent<BarePermit> {
    fn give_back(&self) {
        self.put(Hand::Others);
    }

    async fn take_again(&self) {
        if self.is_away() {
            let permit = self.turns.return_to(self.line).await;
            self.put(Hand::Run(permit));
        }
    }
}

#[async_trait]
impl Held for Lent<BareSlot> {
    fn give_back(&self) {
        self.put(Hand::Others);
    }

    /// At once, also beyond the number of slots: to wait here would help nobody.
    async fn take_again(&self) {
        if self.is_away() {
            self.put(Hand::Run(BareSlot::take(&self.turns, self.line)));
        }
    }
}

/// Dropping it gives it back.
pub(super) struct BareSlot {
    turns: Turns,
    line: Line,
}

impl BareSlot {
    fn take(turns: &Turns, line: Line) -> Self {
        let mut state = turns.0.state.lock();
        state.running += 1;
        state.change(line.site, |site| site.use_slot(line.function, 1));
        Self {
            turns: turns.clone(),
            line,
        }
    }
}

impl Drop for BareSlot {
    fn drop(&mut self) {
        let mut state = self.turns.0.state.lock();
        state.running -= 1;
        let function = self.line.function;
        state.change(self.line.site, |site| site.use_slot(function, -1));
        drop(state);
        self.turns.0.work.notify_one();
    }
}

/// Dropping it gives it back.
pub(super) struct BarePermit {
    turns: Turns,
    /// None once it was given back.
    line: Option<Line>,
}

impl BarePermit {
    pub(super) fn new(turns: &Turns, line: Line) -> Self {
        Self {
            turns: turns.clone(),
            line: Some(line),
        }
    }

    /// One that stands for nothing.
    pub(super) fn none(turns: &Turns) -> Self {
        Self {
            turns: turns.clone(),
            line: None,
        }
    }

    /// Lets it go without giving it back.
    pub(super) const fn forget(&mut self) {
        self.line = None;
    }
}

impl Drop for BarePermit {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.turns.leave(line);
        }
    }
}
