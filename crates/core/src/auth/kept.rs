//! What is kept for a few seconds, so that a request does not cost a query.
//!
//! Must never keep what a load found that an invalidation has overtaken: each load remembers how many
//! there had been when it began.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Most values kept. When full it is emptied: simple, and rare by sizing.
const CAPACITY: usize = 10_000;

/// Values by key, each until a moment of its own.
pub(super) struct Kept<K, V> {
    entries: HashMap<K, (V, Instant)>,
    invalidations: u64,
}

/// The invalidations before a load began.
#[derive(Clone, Copy)]
pub(super) struct Load(u64);

pub(super) enum Found<V> {
    Kept(V),
    Missing(Load),
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            invalidations: 0,
        }
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    pub(super) fn find<Q>(&self, key: &Q, now: Instant) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self.entries.get(key) {
            Some((value, until)) if *until > now => Found::Kept(value.clone()),
            _ => Found::Missing(Load(self.invalidations)),
        }
    }

    /// Keeps what `load` found, unless something was invalidated since it began.
    pub(super) fn keep(&mut self, key: K, value: V, until: Instant, load: Load) {
        if self.invalidations == load.0 {
            if self.entries.len() >= CAPACITY {
                self.entries.clear();
            }
            self.entries.insert(key, (value, until));
        }
    }

    pub(super) fn drop_one<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.invalidations += 1;
        self.entries.remove(key);
    }

    /// Looks at every entry: for what is rare.
    pub(super) fn drop_where(&mut self, matches: impl Fn(&K, &V) -> bool) {
        self.invalidations += 1;
        self.entries.retain(|key, (value, _)| !matches(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Clock as _, SystemClock};
    use std::time::Duration;

    const WHILE: Duration = Duration::from_secs(5);
    const ANN: (u32, u32) = (1, 1);
    const BOB: (u32, u32) = (2, 2);

    type Numbers = Kept<(u32, u32), u32>;

    fn value(kept: &Numbers, key: (u32, u32), now: Instant) -> Option<u32> {
        match kept.find(&key, now) {
            Found::Kept(value) => Some(value),
            Found::Missing(_) => None,
        }
    }

    fn load(kept: &Numbers, key: (u32, u32), now: Instant) -> Load {
        match kept.find(&key, now) {
            Found::Missing(load) => load,
            Found::Kept(value) => panic!("{value} is kept"),
        }
    }

    #[test]
    fn a_value_is_kept_until_its_entry_ends() {
        let (now, mut kept) = (SystemClock.monotonic(), Numbers::default());
        let begun = load(&kept, ANN, now);
        kept.keep(ANN, 1, now + WHILE, begun);
        assert_eq!(value(&kept, ANN, now), Some(1));
        assert_eq!(value(&kept, ANN, now + WHILE), None);
    }

    #[test]
    fn an_invalidation_drops_what_it_names() {
        let (now, mut kept) = (SystemClock.monotonic(), Numbers::default());
        let fill = |kept: &mut Numbers| {
            for key in [ANN, BOB] {
                kept.keep(key, 1, now + WHILE, Load(kept.invalidations));
            }
        };
        fill(&mut kept);
        kept.drop_one(&ANN);
        assert_eq!(
            (value(&kept, ANN, now), value(&kept, BOB, now)),
            (None, Some(1))
        );
        fill(&mut kept);
        kept.drop_where(|key, _| *key == BOB);
        assert_eq!(
            (value(&kept, ANN, now), value(&kept, BOB, now)),
            (Some(1), None)
        );
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_kept() {
        let (now, mut kept) = (SystemClock.monotonic(), Numbers::default());
        let begun = load(&kept, ANN, now);
        kept.drop_one(&ANN);
        kept.keep(ANN, 1, now + WHILE, begun);
        assert_eq!(value(&kept, ANN, now), None);
    }

    #[test]
    fn no_more_than_the_capacity_is_kept() {
        let (now, mut kept) = (SystemClock.monotonic(), Numbers::default());
        for n in 0..=CAPACITY as u32 {
            kept.keep((1, n), 1, now + WHILE, Load(0));
            assert!(kept.entries.len() <= CAPACITY);
        }
    }
}
