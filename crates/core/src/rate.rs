//! How often a function may be called: `100/m`.
//!
//! A whole period's calls may come at once; after that one more is let in each time that its part of the
//! period has passed. Events are never refused by a rate.

use crate::error::Error;
use crate::ids::FunctionId;
use crate::limits;
use crate::time;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many calls in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    calls: NonZeroU32,
    period: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "Use a number from 1 to {} and a period, s, m, h or d: \"100/m\"",
                limits::RATE_CALLS_MAX
            )
        };
        let (calls, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return Err(wrong()),
        };
        let digits = calls.bytes().all(|byte| byte.is_ascii_digit());
        let calls = calls.parse::<NonZeroU32>().ok();
        let calls = calls.filter(|calls| digits && calls.get() <= limits::RATE_CALLS_MAX);
        Ok(Self {
            calls: calls.ok_or_else(wrong)?,
            period: Duration::from_secs(seconds),
        })
    }
}

impl Rate {
    fn quota(self) -> Option<Quota> {
        let quota = Quota::with_period(self.period / self.calls.get())?;
        Some(quota.allow_burst(self.calls))
    }
}

/// Lets the limiter read the engine's clock.
#[derive(Clone)]
pub(crate) struct EngineClock(pub(crate) Arc<dyn time::Clock>);

impl governor::clock::Clock for EngineClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.monotonic()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, EngineClock, NoOpMiddleware<Instant>>;

/// What is left of the functions' rates, in this process.
pub(crate) struct Rates {
    clock: EngineClock,
    limiters: Mutex<HashMap<FunctionId, (Rate, Limiter)>>,
}

impl Rates {
    pub(crate) fn new(clock: Arc<dyn time::Clock>) -> Self {
        Self {
            clock: EngineClock(clock),
            limiters: Mutex::default(),
        }
    }

    /// Counts one call of a function with this rate.
    ///
    /// # Errors
    /// [`Error::Busy`] when it came too often.
    pub(crate) fn count(&self, function: FunctionId, slug: &str, rate: &str) -> Result<(), Error> {
        // It was checked before it was stored.
        let known = rate.parse::<Rate>().ok();
        let Some((rate_now, quota)) = known.and_then(|rate| rate.quota().map(|it| (rate, it)))
        else {
            return Ok(());
        };
        let mut limiters = self.limiters.lock();
        if limiters.len() >= limits::RATES_IN_MEMORY {
            limiters.clear();
        }
        let fresh = || {
            (
                rate_now,
                Limiter::direct_with_clock(quota, self.clock.clone()),
            )
        };
        let (of, limiter) = limiters.entry(function).or_insert_with(fresh);
        if *of != rate_now {
            (*of, *limiter) = fresh();
        }
        limiter.check().map_err(|early| Error::Busy {
            reason: format!("Function '{slug}' may be called {rate} times, its rate_limit"),
            retry_after: early.wait_time_from(self.clock.now()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_period() {
        let rate = |text: &str| text.parse::<Rate>();
        let minute = rate("100/m").unwrap();
        assert_eq!(
            (minute.calls.get(), minute.period),
            (100, Duration::from_secs(60))
        );
        for text in ["1/s", "7/h", "1000000/d"] {
            assert!(rate(text).unwrap().quota().is_some(), "{text}");
        }
        for text in [
            "",
            "100",
            "/m",
            "0/m",
            "-1/m",
            "+1/m",
            "1.5/m",
            "100/",
            "100/min",
            "100/M",
            " 1/s",
            "1 / s",
            "1/s/s",
            "1000001/d",
            "99999999999/s",
            "１/s",
        ] {
            let message = rate(text).unwrap_err();
            assert!(message.contains("\"100/m\""), "{text}: {message}");
        }
    }
}
