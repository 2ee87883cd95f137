//! Leaves webhooks alone that fail: a circuit breaker for each version of a proxy function.
//!
//! In memory and for this process alone: after a start every webhook is taken to be well, and several
//! processes find out each for itself. Must never hold a call longer than it takes to look.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate_core::functions::Executable;
use tollgate_core::functions::webhook::{Circuit, WebhookState};
use tollgate_core::ids::{FunctionId, SiteId, VersionId};
use tollgate_core::limits;
use tollgate_core::time::{Clock, Timestamp};

/// A new address is a new version, and begins afresh.
type Key = (SiteId, FunctionId, VersionId);

/// All webhooks that are not well. One that is well has no entry.
#[derive(Clone)]
pub(super) struct Breakers {
    clock: Arc<dyn Clock>,
    list: Arc<Mutex<HashMap<Key, Breaker>>>,
}

#[derive(Clone, Copy)]
struct Breaker {
    /// In a row.
    failures: u32,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open(Pause),
    /// One call is under way; the pause that ended.
    Probing(Pause),
}

#[derive(Clone, Copy)]
struct Pause {
    ends: Instant,
    /// The same for people.
    until: Timestamp,
    length: Duration,
}

/// The webhook is not called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftAlone {
    /// How often it failed in a row.
    pub(super) failures: u32,
    /// When to try again.
    pub(super) wait: Duration,
    /// The same as a time of day.
    pub(super) until: Timestamp,
}

/// Leave to call once. Dropped without a word, it says nothing of the webhook.
pub(super) struct Pass {
    breakers: Breakers,
    key: Key,
    probe: bool,
    told: bool,
}

fn key(executable: &Executable) -> Key {
    let Executable {
        site_id,
        function_id,
        version_id,
        ..
    } = executable;
    (*site_id, *function_id, *version_id)
}

impl Breakers {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            list: Arc::default(),
        }
    }

    /// Asks whether the webhook of `executable` may be called.
    pub(super) fn enter(&self, executable: &Executable) -> Result<Pass, LeftAlone> {
        let key = key(executable);
        let mut list = self.list.lock();
        let probe = match list.get_mut(&key) {
            None => false,
            Some(breaker) => breaker.enter(&*self.clock)?,
        };
        Ok(Pass {
            breakers: self.clone(),
            key,
            probe,
            told: false,
        })
    }

    /// How the webhook does.
    pub(super) fn state(&self, executable: &Executable) -> WebhookState {
        let breaker = self.list.lock().get(&key(executable)).copied();
        let closed = WebhookState {
            circuit: Circuit::Closed,
            failures: 0,
        };
        breaker.map_or(closed, |breaker| WebhookState {
            circuit: breaker.circuit(self.clock.monotonic()),
            failures: breaker.failures,
        })
    }

    /// How many are left alone now.
    pub(super) fn open(&self) -> usize {
        let list = self.list.lock();
        let open = |breaker: &&Breaker| !matches!(breaker.phase, Phase::Closed);
        list.values().filter(open).count()
    }

    /// Forgets the versions of a function but `active`.
    pub(super) fn retire(&self, site: SiteId, function: FunctionId, active: Option<VersionId>) {
        let keeps =
            |&(of, id, version): &Key| (of, id) != (site, function) || active == Some(version);
        self.list.lock().retain(|key, _| keeps(key));
    }

    fn failed(&self, key: Key, probe: bool) {
        let mut list = self.list.lock();
        if list.len() >= limits::CIRCUITS && !list.contains_key(&key) {
            return;
        }
        let breaker = list.entry(key).or_insert(Breaker {
            failures: 0,
            phase: Phase::Closed,
        });
        breaker.failures = breaker.failures.saturating_add(1);
        let length = match breaker.phase {
            Phase::Closed if breaker.failures < limits::CIRCUIT_FAILURES => return,
            Phase::Closed => limits::CIRCUIT_PAUSE,
            Phase::Probing(before) if probe => (before.length * 2).min(limits::CIRCUIT_PAUSE_MAX),
            // A call from before the pause: it is counted, and changes nothing.
            Phase::Open(_) | Phase::Probing(_) => return,
        };
        breaker.phase = Phase::Open(Pause {
            ends: self.clock.monotonic() + length,
            until: self.clock.now().plus(length),
            length,
        });
    }

    /// The probe ended without a word: the next call is the probe.
    fn unfinished(&self, key: Key) {
        if let Some(breaker) = self.list.lock().get_mut(&key)
            && let Phase::Probing(pause) = breaker.phase
        {
            breaker.phase = Phase::Open(pause);
        }
    }
}

impl Breaker {
    /// Whether the call that may be made is the probe.
    fn enter(&mut self, clock: &dyn Clock) -> Result<bool, LeftAlone> {
        let now = clock.monotonic();
        let (wait, until) = match self.phase {
            Phase::Closed => return Ok(false),
            Phase::Open(pause) if pause.ends <= now => {
                self.phase = Phase::Probing(pause);
                return Ok(true);
            }
            Phase::Open(pause) => (pause.ends - now, pause.until),
            Phase::Probing(pause) => {
                let wait = pause.length.min(limits::CIRCUIT_PROBE_WAIT);
                (wait, clock.now().plus(wait))
            }
        };
        Err(LeftAlone {
            failures: self.failures,
            wait,
            until,
        })
    }

    fn circuit(&self, now: Instant) -> Circuit {
        match self.phase {
            Phase::Closed => Circuit::Closed,
            Phase::Open(pause) if pause.ends > now => Circuit::Open { until: pause.until },
            Phase::Open(_) | Phase::Probing(_) => Circuit::HalfOpen,
        }
    }
}

impl Pass {
    /// The webhook answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.told = true;
        self.breakers.list.lock().remove(&self.key);
    }

    /// The webhook is in trouble.
    pub(super) fn failed(mut self) {
        self.told = true;
        self.breakers.failed(self.key, self.probe);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.breakers.unfinished(self.key);
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
