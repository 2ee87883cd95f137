//! How often one account and one address may try to sign in, or to exchange a token.
//!
//! Must never grow without bound: keys that have rested are dropped.

use crate::error::Error;
use crate::ids::SiteId;
use crate::rate::EngineClock;
use crate::time;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

/// Keys held before those that have rested are dropped.
const SWEEP_ABOVE: usize = 10_000;

/// A hash, so that a key takes the same room whatever was sent.
type Key = [u8; 16];
type Limiter = RateLimiter<Key, HashMapStateStore<Key>, EngineClock, NoOpMiddleware<Instant>>;

/// Counts attempts of one kind.
pub(super) struct Attempts {
    clock: EngineClock,
    limiter: Limiter,
}

impl Attempts {
    pub(super) fn new(clock: Arc<dyn time::Clock>, per_minute: u32) -> Self {
        let clock = EngineClock(clock);
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { clock, limiter }
    }

    /// Counts one attempt.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn count(
        &self,
        site: SiteId,
        login: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Error> {
        self.count_address(site, address)?;
        self.count_account(site, &login.to_lowercase())
    }

    /// Counts one attempt from an address, where one is known.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn count_address(&self, site: SiteId, address: Option<IpAddr>) -> Result<(), Error> {
        match address {
            Some(address) => self.check(&key("address", site, &network(address))),
            None => Ok(()),
        }
    }

    /// Counts one attempt on an account.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn count_account(&self, site: SiteId, account: &str) -> Result<(), Error> {
        self.check(&key("account", site, account))
    }

    fn check(&self, key: &Key) -> Result<(), Error> {
        if self.limiter.len() > SWEEP_ABOVE {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(key)
            .map_err(|until| Error::RateLimited(until.wait_time_from(self.clock.now())))
    }
}

fn key(kind: &str, site: SiteId, text: &str) -> Key {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update(site.0.to_le_bytes())
        .chain_update(text)
        .finalize();
    let mut key = Key::default();
    key.copy_from_slice(&digest[..16]);
    key
}

/// One subscriber of an internet provider usually holds a whole IPv6 /64.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:x?}", &v6.segments()[..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::time::{Clock, SystemClock, Timestamp};
    use parking_lot::Mutex;
    use std::time::Duration;

    struct Fixed(Mutex<Instant>);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }
        fn monotonic(&self) -> Instant {
            *self.0.lock()
        }
    }

    fn attempts() -> (Arc<Fixed>, Attempts) {
        let clock = Arc::new(Fixed(Mutex::new(SystemClock.monotonic())));
        (
            Arc::clone(&clock),
            Attempts::new(clock, limits::SIGN_IN_PER_MINUTE),
        )
    }

    #[test]
    fn an_account_is_limited_whatever_the_address_and_case() {
        let (clock, attempts) = attempts();
        let site = SiteId(1);
        for n in 0..limits::SIGN_IN_PER_MINUTE {
            let address = IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()]);
            attempts.count(site, "Ann", Some(address)).unwrap();
        }
        let refused = attempts.count(site, "aNN", None).unwrap_err();
        assert!(matches!(refused, Error::RateLimited(wait) if wait <= Duration::from_secs(6)));
        attempts.count(SiteId(2), "ann", None).unwrap();
        attempts.count(site, "bob", None).unwrap();
        *clock.0.lock() += Duration::from_secs(6);
        attempts.count(site, "ann", None).unwrap();
        attempts.count(site, "ann", None).unwrap_err();
    }

    #[test]
    fn an_address_is_limited_whatever_the_account() {
        let (_, attempts) = attempts();
        for n in 0..limits::SIGN_IN_PER_MINUTE {
            let address = format!("2001:db8::{n}").parse().unwrap();
            attempts
                .count(SiteId(1), &format!("user{n}"), Some(address))
                .unwrap();
        }
        let same_network = "2001:db8::ffff".parse().unwrap();
        attempts
            .count(SiteId(1), "other", Some(same_network))
            .unwrap_err();
        let elsewhere = "2001:db8:1::1".parse().unwrap();
        attempts.count(SiteId(1), "other", Some(elsewhere)).unwrap();
    }

    #[test]
    fn rested_keys_are_dropped() {
        let (clock, attempts) = attempts();
        for n in 0..=SWEEP_ABOVE {
            attempts.count(SiteId(1), &n.to_string(), None).unwrap();
        }
        *clock.0.lock() += Duration::from_secs(120);
        attempts.count(SiteId(1), "next", None).unwrap();
        assert!(attempts.limiter.len() <= 1);
    }
}
