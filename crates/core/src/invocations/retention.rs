//! How long records of ended invocations are kept.
//!
//! Must never let go of a dead letter, or of anything that has not ended.

use crate::limits;
use crate::tasks::State;
use crate::time::Timestamp;
use std::time::Duration;

/// Periods by state; none keeps records for ever. They count from a record's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of successful runs.
    pub succeeded: Option<Duration>,
    /// Of failed runs and discarded dead letters.
    pub failed: Option<Duration>,
    /// Of runs that ended at their time limit.
    pub timed_out: Option<Duration>,
    /// Of cancelled runs.
    pub cancelled: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            succeeded: days(limits::SUCCEEDED_DAYS_DEFAULT),
            failed: days(limits::FAILED_DAYS_DEFAULT),
            timed_out: days(limits::TIMED_OUT_DAYS_DEFAULT),
            cancelled: days(limits::CANCELLED_DAYS_DEFAULT),
        }
    }
}

/// A period of whole days; 0 means for ever.
pub const fn days(days: u32) -> Option<Duration> {
    if days == 0 {
        return None;
    }
    Some(Duration::from_secs(days as u64 * 24 * 3600))
}

impl Retention {
    /// How long a record in `state` is kept; none for ever.
    pub const fn period(&self, state: State) -> Option<Duration> {
        match state {
            State::Pending | State::Running | State::Retrying | State::Dead => None,
            State::Succeeded => self.succeeded,
            State::Failed => self.failed,
            State::TimedOut => self.timed_out,
            State::Cancelled => self.cancelled,
        }
    }

    /// Whether a record in `state`, last changed at `updated_at`, may be deleted at `now`.
    pub fn is_over(&self, state: State, updated_at: Timestamp, now: Timestamp) -> bool {
        self.period(state)
            .is_some_and(|period| now > updated_at.plus(period))
    }

    /// The shortest period: no run that was queued later is over. None when nothing is ever over.
    pub fn shortest(&self) -> Option<Duration> {
        State::ALL
            .into_iter()
            .filter_map(|state| self.period(state))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn each_state_has_its_period_and_some_have_none() {
        let retention = Retention {
            cancelled: days(0),
            ..Retention::default()
        };
        let ended = Timestamp::from_micros(0);
        let table = [
            (State::Pending, None),
            (State::Running, None),
            (State::Retrying, None),
            (State::Succeeded, Some(7)),
            (State::Failed, Some(30)),
            (State::TimedOut, Some(30)),
            (State::Cancelled, None),
            (State::Dead, None),
        ];
        for (state, days) in table {
            let long_after = ended.plus(DAY * 40_000);
            assert_eq!(
                retention.is_over(state, ended, long_after),
                days.is_some(),
                "{state}"
            );
            if let Some(days) = days {
                let at = ended.plus(DAY * days);
                assert!(!retention.is_over(state, ended, at), "{state}");
                let later = at.plus(Duration::from_micros(1));
                assert!(retention.is_over(state, ended, later), "{state}");
            }
        }
        assert_eq!(retention.shortest(), Some(DAY * 7));
        let never = Retention {
            succeeded: None,
            failed: None,
            timed_out: None,
            cancelled: None,
        };
        assert_eq!(never.shortest(), None);
    }
}
