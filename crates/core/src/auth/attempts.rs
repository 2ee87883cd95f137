//! How often one account and one address may try to sign in, or to exchange a token.
//!
//! A failed sign-in counts for its account and address together, and for its address; all the failures
//! of an account only slow its further attempts, so that a stranger keeps nobody out. An account is one,
//! whichever of its names is typed. What is typed counts by what stands before its `@` as well, whether
//! there is such an account or not: else it would show that two names are one account's. An attempt counts
//! when it begins and is given back when it succeeds, so that many at once gain nothing. Must never
//! grow without bound.

use crate::error::Error;
use crate::ids::{SiteId, UserId};
use crate::limits;
use crate::time;
use crate::users::identity;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys held before those that have rested are dropped.
const SWEEP_ABOVE: usize = 10_000;
/// Keys held at all: beyond it those that rest soonest are dropped.
const KEYS: usize = 4 * SWEEP_ABOVE;
const MINUTE: Duration = Duration::from_secs(60);

/// A hash, so that a key takes the same room whatever was sent.
pub(super) type Key = [u8; 16];

/// Counts of one kind, as the generic cell rate algorithm keeps them: for each key the moment at which
/// nothing of it will be left.
struct Counts {
    clock: Arc<dyn time::Clock>,
    burst: u32,
    every: Duration,
    known: Mutex<Known>,
}

struct Known {
    empty_at: HashMap<Key, Instant>,
    /// How many there may be before those that have rested are looked for: seldom enough to cost
    /// nothing.
    sweep_at: usize,
}

impl Counts {
    fn new(clock: Arc<dyn time::Clock>, per_minute: u32) -> Self {
        let burst = per_minute.max(1);
        Self {
            clock,
            burst,
            every: MINUTE / burst,
            known: Mutex::new(Known {
                empty_at: HashMap::new(),
                sweep_at: SWEEP_ABOVE,
            }),
        }
    }

    /// Adds one and tells how many there were; or how long until there is room.
    fn take(&self, key: &Key) -> Result<u32, Duration> {
        let now = self.clock.monotonic();
        let mut known = self.known.lock();
        known.sweep(now);
        let at = known.empty_at.get(key).copied().unwrap_or(now).max(now);
        let most = self.every * self.burst;
        let after = at + self.every - now;
        if after > most {
            return Err(after - most);
        }
        known.empty_at.insert(*key, at + self.every);
        let before = (at - now).as_nanos().div_ceil(self.every.as_nanos().max(1));
        Ok(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// The same for each of these, or for none of them; the most that there were.
    fn take_all(&self, keys: &[Key]) -> Result<u32, Duration> {
        let mut most = 0;
        for (taken, key) in keys.iter().enumerate() {
            match self.take(key) {
                Ok(before) => most = most.max(before),
                Err(wait) => {
                    keys[..taken].iter().for_each(|key| self.give_back(key));
                    return Err(wait);
                }
            }
        }
        Ok(most)
    }

    /// Takes one away again.
    fn give_back(&self, key: &Key) {
        if let Some(at) = self.known.lock().empty_at.get_mut(key) {
            *at = at.checked_sub(self.every).unwrap_or(*at);
        }
    }

    fn forget(&self, key: &Key) {
        self.known.lock().empty_at.remove(key);
    }
}

impl Known {
    fn sweep(&mut self, now: Instant) {
        if self.empty_at.len() < self.sweep_at {
            return;
        }
        self.empty_at.retain(|_, at| *at > now);
        if self.empty_at.len() >= KEYS {
            let mut ends: Vec<_> = self.empty_at.values().copied().collect();
            let middle = ends.len() / 2;
            let median = *ends.select_nth_unstable(middle).1;
            self.empty_at.retain(|_, at| *at > median);
        }
        self.sweep_at = (2 * self.empty_at.len()).clamp(SWEEP_ABOVE, KEYS);
    }
}

/// Sign-ins.
pub(super) struct SignIns {
    by_pair: Counts,
    by_address: Counts,
    by_account: Counts,
}

/// An attempt that has begun and counts.
#[derive(Debug)]
pub(super) struct Attempt {
    pairs: Vec<Key>,
    address: Option<Key>,
    accounts: Vec<Key>,
    /// How long to wait before the password is looked at.
    pub(super) delay: Duration,
}

impl SignIns {
    pub(super) fn new(clock: &Arc<dyn time::Clock>) -> Self {
        let counts = |per_minute| Counts::new(Arc::clone(clock), per_minute);
        Self {
            by_pair: counts(limits::SIGN_IN_PER_MINUTE),
            by_address: counts(limits::SIGN_IN_PER_MINUTE_OF_ADDRESS),
            by_account: counts(limits::SIGN_IN_PER_MINUTE_OF_ACCOUNT),
        }
    }

    /// Counts one attempt by the name that was typed, on the account that it is a name of, if it is.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; the attempt does not count then.
    pub(super) fn begin(
        &self,
        site: SiteId,
        login: &str,
        account: Option<UserId>,
        address: Option<IpAddr>,
    ) -> Result<Attempt, Error> {
        let names = counted(login, account);
        let network = address.map(network).unwrap_or_default();
        let keys = |kind: &str, more: &[&str]| -> Vec<Key> {
            let names = names.iter();
            let parts = names.map(|(what, name)| [&[*what, name.as_str()], more].concat());
            parts.map(|parts| key(kind, site, &parts)).collect()
        };
        let mut attempt = Attempt {
            pairs: keys("pair", &[&network]),
            address: address.map(|_| key("address", site, &[&network])),
            accounts: keys("account", &[]),
            delay: Duration::ZERO,
        };
        let failed = self
            .by_pair
            .take_all(&attempt.pairs)
            .map_err(Error::RateLimited)?;
        if let Some(key) = &attempt.address
            && let Err(wait) = self.by_address.take(key)
        {
            attempt
                .pairs
                .iter()
                .for_each(|key| self.by_pair.give_back(key));
            return Err(Error::RateLimited(wait));
        }
        // More than it holds slows as much as it holds: this one never refuses.
        let most = limits::SIGN_IN_PER_MINUTE_OF_ACCOUNT;
        let of_accounts = attempt.accounts.iter();
        let of_accounts = of_accounts.map(|key| self.by_account.take(key).unwrap_or(most));
        let of_account = of_accounts.max().unwrap_or_default();
        attempt.delay = delay(failed).max(delay_of_account(of_account));
        Ok(attempt)
    }

    /// The password was right: what failed before from there was its owner's own typing.
    pub(super) fn succeeded(&self, attempt: &Attempt) {
        self.undo(attempt);
        attempt
            .pairs
            .iter()
            .for_each(|key| self.by_pair.forget(key));
    }

    /// Nobody looked at the password.
    pub(super) fn undo(&self, attempt: &Attempt) {
        attempt
            .pairs
            .iter()
            .for_each(|key| self.by_pair.give_back(key));
        attempt
            .accounts
            .iter()
            .for_each(|key| self.by_account.give_back(key));
        if let Some(key) = &attempt.address {
            self.by_address.give_back(key);
        }
    }
}

/// What an attempt counts for: the account, or the name of none; and what stands before its `@`.
fn counted(login: &str, account: Option<UserId>) -> Vec<(&'static str, String)> {
    let login = identity::key(login);
    let local = login.rsplit_once('@').map_or(&*login, |(local, _)| local);
    let mut names = vec![("name", local.to_owned())];
    match account {
        Some(account) => names.push(("account", account.to_string())),
        None if local == login => {}
        None => names.push(("name", login)),
    }
    names
}

/// What follows on so many failures of one account from one address: nothing for a few slips, then
/// twice as long each time.
fn delay(failed: u32) -> Duration {
    let doublings = failed.checked_sub(3).map(|it| it.min(8));
    let delay = doublings.map(|it| limits::SIGN_IN_DELAY * (1 << it));
    delay.unwrap_or_default().min(limits::SIGN_IN_DELAY_MAX)
}

/// What follows on so many failures of one account from anywhere.
fn delay_of_account(failed: u32) -> Duration {
    let over = failed.saturating_sub(2 * limits::SIGN_IN_PER_MINUTE);
    (limits::SIGN_IN_DELAY * over).min(limits::SIGN_IN_DELAY_MAX)
}

/// Exchanges of tokens, which only who holds one can try.
pub(super) struct Exchanges(Counts);

impl Exchanges {
    pub(super) fn new(clock: &Arc<dyn time::Clock>) -> Self {
        let per_minute = limits::TOKEN_EXCHANGE_PER_MINUTE;
        Self(Counts::new(Arc::clone(clock), per_minute))
    }

    /// Counts one from an address, where one is known.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn count_address(&self, site: SiteId, address: Option<IpAddr>) -> Result<(), Error> {
        match address {
            Some(address) => self.count(&key("address", site, &[&network(address)])),
            None => Ok(()),
        }
    }

    /// Counts one of an account.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn count_account(&self, site: SiteId, account: &str) -> Result<(), Error> {
        self.count(&key("account", site, &[account]))
    }

    fn count(&self, key: &Key) -> Result<(), Error> {
        self.0.take(key).map(drop).map_err(Error::RateLimited)
    }
}

/// What is counted, or whose turn it is.
pub(super) fn key(kind: &str, site: SiteId, parts: &[&str]) -> Key {
    let mut hash = Sha256::new()
        .chain_update(kind)
        .chain_update(site.0.to_le_bytes());
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut key = Key::default();
    key.copy_from_slice(&digest[..16]);
    key
}

/// One subscriber of an internet provider usually holds a whole IPv6 /64.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:x?}", &v6.segments()[..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Clock, SystemClock, Timestamp};

    struct Fixed(Mutex<Instant>);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }
        fn monotonic(&self) -> Instant {
            *self.0.lock()
        }
    }

    fn sign_ins() -> (Arc<Fixed>, SignIns) {
        let clock = Arc::new(Fixed(Mutex::new(SystemClock.monotonic())));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        (clock, SignIns::new(&shared))
    }

    const SITE: SiteId = SiteId(1);
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn stranger(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + n)))
    }

    #[test]
    fn a_stranger_is_slowed_then_refused_and_the_owner_gets_in_from_elsewhere() {
        let (clock, sign_ins) = sign_ins();
        let mut slowest = Duration::ZERO;
        for _ in 0..limits::SIGN_IN_PER_MINUTE {
            let attempt = sign_ins.begin(SITE, "ann", None, stranger(1)).unwrap();
            assert!(attempt.delay >= slowest, "{attempt:?}");
            slowest = attempt.delay;
        }
        assert_eq!(slowest, limits::SIGN_IN_DELAY_MAX);
        // In no spelling of the name.
        for name in ["ann", "ANN", " ａｎｎ"] {
            let refused = sign_ins.begin(SITE, name, None, stranger(1)).unwrap_err();
            assert!(matches!(refused, Error::RateLimited(wait) if wait <= Duration::from_secs(6)));
        }
        // An hour of one guess in a second, and the owner once in a while.
        for second in 0..3600 {
            *clock.0.lock() += Duration::from_secs(1);
            let _ = sign_ins.begin(SITE, "ann", None, stranger(1));
            if second % 60 == 0 {
                let attempt = sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap();
                assert!(attempt.delay <= limits::SIGN_IN_DELAY_MAX);
                sign_ins.succeeded(&attempt);
            }
        }
    }

    /// Two names of one account are one, and whether they are is not to be seen.
    #[test]
    fn an_account_is_counted_whichever_of_its_names_is_typed() {
        let ann = Some(UserId(7));
        let fill = |sign_ins: &SignIns, login: &str, account| {
            for _ in 0..limits::SIGN_IN_PER_MINUTE {
                sign_ins.begin(SITE, login, account, stranger(1)).unwrap();
            }
        };
        for (first, then) in [
            ("ann", "ann@example.com"),
            ("ann@example.com", "ann"),
            ("ann", "a.nn@other.example"),
            ("a.nn@other.example", "ANN"),
        ] {
            let (_, sign_ins) = sign_ins();
            fill(&sign_ins, first, ann);
            sign_ins.begin(SITE, then, ann, stranger(1)).unwrap_err();
            // Somebody else, and ann from elsewhere.
            let other = Some(UserId(8));
            sign_ins.begin(SITE, "bob", other, stranger(1)).unwrap();
            let owner = sign_ins.begin(SITE, then, ann, Some(HOME)).unwrap();
            sign_ins.succeeded(&owner);
        }
        // The same with names of nobody.
        for (first, then) in [("ann", "ann@example.com"), ("ann@example.com", "ann")] {
            let (_, sign_ins) = sign_ins();
            fill(&sign_ins, first, None);
            sign_ins.begin(SITE, then, None, stranger(1)).unwrap_err();
        }
        // What is refused takes nothing of the other counts.
        let (_, sign_ins) = sign_ins();
        fill(&sign_ins, "x@example.com", ann);
        for _ in 0..50 {
            sign_ins.begin(SITE, "ann", ann, stranger(1)).unwrap_err();
        }
        let slow = sign_ins.begin(SITE, "ann", None, stranger(1)).unwrap();
        assert_eq!(slow.delay, Duration::ZERO);
    }

    #[test]
    fn many_strangers_slow_an_account_and_do_not_close_it() {
        let (_, sign_ins) = sign_ins();
        for n in 0..1000 {
            sign_ins.begin(SITE, "ann", None, stranger(n)).unwrap();
        }
        let owner = sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap();
        assert_eq!(owner.delay, limits::SIGN_IN_DELAY_MAX);
        let other = sign_ins.begin(SITE, "bob", None, Some(HOME)).unwrap();
        assert_eq!(other.delay, Duration::ZERO);
    }

    #[test]
    fn what_succeeds_costs_nothing() {
        let (_, sign_ins) = sign_ins();
        for _ in 0..1000 {
            let attempt = sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap();
            assert_eq!(attempt.delay, Duration::ZERO);
            sign_ins.succeeded(&attempt);
        }
        // And one's own slips are forgotten then.
        for _ in 0..limits::SIGN_IN_PER_MINUTE - 1 {
            sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap();
        }
        let right = sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap();
        sign_ins.succeeded(&right);
        assert_eq!(
            sign_ins.begin(SITE, "ann", None, Some(HOME)).unwrap().delay,
            Duration::ZERO
        );
    }

    #[test]
    fn an_address_is_limited_whatever_the_account() {
        let (clock, sign_ins) = sign_ins();
        let of = limits::SIGN_IN_PER_MINUTE_OF_ADDRESS;
        for n in 0..of {
            let address = format!("2001:db8::{n:x}").parse().unwrap();
            sign_ins
                .begin(SITE, &format!("user{n}"), None, Some(address))
                .unwrap();
        }
        let same_network = "2001:db8::ffff".parse().unwrap();
        let refused = sign_ins.begin(SITE, "other", None, Some(same_network));
        assert!(refused.is_err());
        let elsewhere = "2001:db8:1::1".parse().unwrap();
        sign_ins
            .begin(SITE, "other", None, Some(elsewhere))
            .unwrap();
        sign_ins
            .begin(SiteId(2), "other", None, Some(same_network))
            .unwrap();
        *clock.0.lock() += MINUTE / of;
        sign_ins
            .begin(SITE, "other", None, Some(same_network))
            .unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (clock, sign_ins) = sign_ins();
        let counts = &sign_ins.by_pair;
        let known = || counts.known.lock().empty_at.len();
        for n in 0..u128::try_from(2 * KEYS).unwrap() {
            *clock.0.lock() += Duration::from_nanos(1);
            counts.take(&n.to_le_bytes()).unwrap();
            assert!(known() <= KEYS);
        }
        *clock.0.lock() += 2 * MINUTE;
        counts.known.lock().sweep_at = 0;
        counts.take(&Key::default()).unwrap();
        assert_eq!(known(), 1);
    }
}
