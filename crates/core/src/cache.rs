//! What memory keeps of the store, so that not every use of it is a query.
//!
//! A value that was loaded before an invalidation is never kept after it: each load remembers how many there had been
//! when it began. Every value has an age limit besides, because news of a change may be lost. Must never be the only
//! place where something is kept.

use crate::time::Clock;
use parking_lot::Mutex;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At most `capacity` values by key, each for a while. When full it is emptied: simple, and rare by sizing.
pub(crate) struct Cache<K, V> {
    kept: Mutex<Kept<K, V>>,
    clock: Arc<dyn Clock>,
    capacity: usize,
    age: Duration,
}

struct Kept<K, V> {
    entries: HashMap<K, (V, Instant)>,
    invalidations: u64,
}

/// A look that found nothing: the invalidations before the load that follows.
#[derive(Clone, Copy)]
pub(crate) struct Load(u64);

pub(crate) enum Found<V> {
    Kept(V),
    Missing(Load),
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache, whose values last for `age` at most.
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: usize, age: Duration) -> Self {
        let kept = Kept {
            entries: HashMap::new(),
            invalidations: 0,
        };
        Self {
            kept: Mutex::new(kept),
            clock,
            capacity,
            age,
        }
    }

    /// What is kept of `key`.
    pub(crate) fn find<Q>(&self, key: &Q) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let now = self.clock.monotonic();
        let kept = self.kept.lock();
        match kept.entries.get(key) {
            Some((value, until)) if *until > now => Found::Kept(value.clone()),
            _ => Found::Missing(Load(kept.invalidations)),
        }
    }

    /// Keeps what `load` found, for `lasting` if that is less than the age limit, unless something was invalidated
    /// since it began.
    pub(crate) fn keep(&self, key: K, value: V, lasting: Duration, load: Load) {
        let until = self.clock.monotonic() + lasting.min(self.age);
        let mut kept = self.kept.lock();
        if kept.invalidations == load.0 {
            if kept.entries.len() >= self.capacity {
                kept.entries.clear();
            }
            kept.entries.insert(key, (value, until));
        }
    }

    /// The kept value, or the one that `load` gives.
    ///
    /// # Errors
    /// Those of `load`; they are not kept.
    pub(crate) async fn get_or_load<E, F>(&self, key: K, load: F) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let begun = match self.find(&key) {
            Found::Kept(value) => return Ok(value),
            Found::Missing(begun) => begun,
        };
        let value = load.await?;
        self.keep(key, value.clone(), self.age, begun);
        Ok(value)
    }

    /// Drops one value.
    pub(crate) fn drop_one<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut kept = self.kept.lock();
        kept.invalidations += 1;
        kept.entries.remove(key);
    }

    /// Drops the values that match. It looks at every one: for what is rare.
    pub(crate) fn drop_where(&self, mut matches: impl FnMut(&K, &V) -> bool) {
        let mut kept = self.kept.lock();
        kept.invalidations += 1;
        kept.entries.retain(|key, (value, _)| !matches(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use futures_util::FutureExt as _;
    use std::convert::Infallible;

    const WHILE: Duration = Duration::from_secs(5);

    struct Moment(Mutex<Instant>);

    impl Clock for Moment {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }

        fn monotonic(&self) -> Instant {
            *self.0.lock()
        }
    }

    fn cache(capacity: usize) -> (Arc<Moment>, Cache<u32, u32>) {
        let clock = Arc::new(Moment(Mutex::new(crate::time::SystemClock.monotonic())));
        let cache = Cache::new(Arc::clone(&clock) as _, capacity, WHILE);
        (clock, cache)
    }

    fn get(cache: &Cache<u32, u32>, key: u32, loaded: u32) -> u32 {
        let load = async { Ok::<_, Infallible>(loaded) };
        let got = cache.get_or_load(key, load).now_or_never();
        got.expect("nothing waits").expect("nothing fails")
    }

    #[test]
    fn what_was_loaded_is_kept_until_told_otherwise() {
        let (_, cache) = cache(8);
        assert_eq!((get(&cache, 1, 10), get(&cache, 2, 20)), (10, 20));
        assert_eq!((get(&cache, 1, 11), get(&cache, 2, 21)), (10, 20));
        cache.drop_one(&1);
        assert_eq!((get(&cache, 1, 12), get(&cache, 2, 22)), (12, 20));
        cache.drop_where(|_, value| *value == 20);
        assert_eq!((get(&cache, 1, 13), get(&cache, 2, 23)), (12, 23));
    }

    #[test]
    fn without_news_a_value_grows_old() {
        let (clock, cache) = cache(8);
        assert_eq!(get(&cache, 1, 10), 10);
        *clock.0.lock() += WHILE / 2;
        assert_eq!(get(&cache, 1, 11), 10);
        *clock.0.lock() += WHILE / 2;
        assert_eq!(get(&cache, 1, 12), 12);
    }

    #[test]
    fn a_value_may_end_before_its_age_limit_and_never_after_it() {
        for (lasting, kept_for) in [(WHILE / 5, WHILE / 5), (WHILE * 5, WHILE)] {
            let (clock, cache) = cache(8);
            let Found::Missing(load) = cache.find(&1) else {
                panic!("something is kept");
            };
            cache.keep(1, 10, lasting, load);
            *clock.0.lock() += kept_for - Duration::from_millis(1);
            assert!(matches!(cache.find(&1), Found::Kept(10)));
            *clock.0.lock() += Duration::from_millis(1);
            assert!(matches!(cache.find(&1), Found::Missing(_)));
        }
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_kept() {
        type Invalidate = fn(&Cache<u32, u32>);
        let invalidations: [Invalidate; 2] = [
            |cache| cache.drop_one(&1),
            |cache| cache.drop_where(|_, _| true),
        ];
        for invalidate in invalidations {
            let (_, cache) = cache(8);
            let stale = cache.get_or_load(1, async {
                invalidate(&cache);
                Ok::<_, Infallible>(10)
            });
            assert_eq!(stale.now_or_never(), Some(Ok(10)));
            assert_eq!(get(&cache, 1, 11), 11);
        }
    }

    #[test]
    fn no_more_than_the_capacity_is_kept() {
        let (_, cache) = cache(2);
        for key in 0..10 {
            get(&cache, key, key);
            assert!(cache.kept.lock().entries.len() <= 2);
        }
    }
}
