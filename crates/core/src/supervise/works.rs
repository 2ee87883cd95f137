//! What a group has started and not seen the end of, by name.

use super::{Fault, Supervisor};
use std::collections::HashMap;
use tokio::task::AbortHandle;

/// What is under way in a group.
#[derive(Default)]
pub(super) struct Works {
    last: u64,
    under_way: HashMap<u64, Work>,
}

struct Work {
    name: &'static str,
    /// None for a thread.
    task: Option<AbortHandle>,
}

impl Works {
    fn enter(&mut self, name: &'static str) -> u64 {
        self.last += 1;
        self.under_way.insert(self.last, Work { name, task: None });
        self.last
    }

    /// Does nothing for work that has ended.
    pub(super) fn can_be_broken_off(&mut self, number: u64, task: AbortHandle) {
        if let Some(work) = self.under_way.get_mut(&number) {
            work.task = Some(task);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.under_way.values().map(|work| work.name).collect()
    }

    pub(super) fn tasks(&self) -> Vec<AbortHandle> {
        let tasks = self.under_way.values().map(|work| work.task.clone());
        tasks.flatten().collect()
    }
}

/// How work may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not before its group is told to stop.
    WhenAsked,
    /// At any time, but without a panic.
    ByItself,
    /// At any time, also with a panic.
    EvenBadly,
}

/// Says that work has ended, when dropped.
pub(super) struct Watched {
    group: Supervisor,
    name: &'static str,
    ending: Ending,
    number: u64,
}

impl Watched {
    pub(super) fn new(group: &Supervisor, name: &'static str, ending: Ending) -> Self {
        let mut number = 0;
        group.0.works.send_if_modified(|works| {
            number = works.enter(name);
            false
        });
        Self {
            group: group.clone(),
            name,
            ending,
            number,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    fn fault(&self) -> Option<Fault> {
        let panicked = std::thread::panicking();
        let fine = match self.ending {
            Ending::WhenAsked => !panicked && self.group.is_stopping(),
            Ending::ByItself => !panicked,
            Ending::EvenBadly => true,
        };
        let name = self.name;
        (!fine).then_some(Fault { name, panicked })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(fault) = self.fault() {
            let (name, panicked) = (fault.name, fault.panicked);
            tracing::error!(name, panicked, "a loop has ended: {fault}");
            self.group.0.fault.send_if_modified(|first| {
                let is_first = first.is_none();
                if is_first {
                    *first = Some(fault);
                }
                is_first
            });
        }
        // Last: whoever waits for the end finds the fault.
        self.group.0.works.send_if_modified(|works| {
            works.under_way.remove(&self.number);
            works.is_empty()
        });
    }
}
