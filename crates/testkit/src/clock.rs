//! A clock that moves only when told to.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tollgate_core::time::{Clock, SystemClock, Timestamp};

/// A clock for tests. Wall-clock and monotonic time advance together; the former can also be set.
#[derive(Debug)]
pub struct ManualClock {
    wall_micros: AtomicI64,
    start: Instant,
    elapsed_micros: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            wall_micros: AtomicI64::new(now.as_micros()),
            start: SystemClock.monotonic(),
            elapsed_micros: AtomicU64::new(0),
        }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.wall_micros
            .fetch_add(i64::try_from(micros).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.elapsed_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back, as an administrator might.
    pub fn set(&self, now: Timestamp) {
        self.wall_micros.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// 2025-01-15T10:30:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_micros(1_736_937_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall_micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Instant {
        self.start + Duration::from_micros(self.elapsed_micros.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_only_when_told_to() {
        let clock = ManualClock::default();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        assert_eq!((clock.now(), clock.monotonic()), (wall, monotonic));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now().since(wall), Duration::from_secs(2));
        assert_eq!(clock.monotonic() - monotonic, Duration::from_secs(2));
        clock.set(wall);
        assert_eq!(clock.now(), wall);
        assert_eq!(clock.monotonic() - monotonic, Duration::from_secs(2));
    }
}
