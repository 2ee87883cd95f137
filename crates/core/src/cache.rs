//! A read-through cache whose entries can be invalidated without a stale value slipping back in.
//!
//! A value that was loaded before an invalidation is never stored after it: each load remembers
//! the generation it began in. Must never be the only place where something is kept.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

/// At most `capacity` values by key. When full it is emptied: simple, and rare by sizing.
pub struct Cache<K, V> {
    values: Mutex<HashMap<K, V>>,
    generation: AtomicU64,
    capacity: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache.
    pub fn new(capacity: usize) -> Self {
        Self {
            values: Mutex::default(),
            generation: AtomicU64::new(0),
            capacity,
        }
    }

    /// The kept value, or the one that `load` gives.
    ///
    /// # Errors
    /// Those of `load`; they are not kept.
    pub async fn get_or_load<E, F>(&self, key: K, load: F) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        if let Some(value) = self.values.lock().get(&key) {
            return Ok(value.clone());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let value = load.await?;
        let mut values = self.values.lock();
        if self.generation.load(Ordering::Acquire) == generation {
            if values.len() >= self.capacity {
                values.clear();
            }
            values.insert(key, value.clone());
        }
        Ok(value)
    }

    /// Drops the values whose key matches.
    pub fn invalidate(&self, mut matches: impl FnMut(&K) -> bool) {
        let mut values = self.values.lock();
        // Under the lock, so that a load which finished before sees its value removed, and one
        // that finishes after sees the new generation.
        self.generation.fetch_add(1, Ordering::AcqRel);
        values.retain(|key, _| !matches(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::convert::Infallible;

    async fn load(value: u32) -> Result<u32, Infallible> {
        Ok(value)
    }

    #[test]
    fn keeps_what_it_loaded_until_told_otherwise() {
        let cache = Cache::new(8);
        let get = |value| cache.get_or_load("k", load(value)).now_or_never().unwrap();
        assert_eq!(get(1), Ok(1));
        assert_eq!(get(2), Ok(1));
        cache.invalidate(|key| *key == "k");
        assert_eq!(get(3), Ok(3));
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_kept() {
        let cache = Cache::new(8);
        let stale = cache.get_or_load("k", async {
            cache.invalidate(|_| true);
            load(1).await
        });
        assert_eq!(stale.now_or_never().unwrap(), Ok(1));
        assert_eq!(
            cache.get_or_load("k", load(2)).now_or_never().unwrap(),
            Ok(2)
        );
    }

    #[test]
    fn never_holds_more_than_its_capacity() {
        let cache = Cache::new(2);
        for key in 0..10 {
            cache
                .get_or_load(key, load(key))
                .now_or_never()
                .unwrap()
                .unwrap();
            assert!(cache.values.lock().len() <= 2);
        }
    }
}
