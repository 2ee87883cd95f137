//! Chance that can be repeated: everything that an experiment chooses comes from one number.

use std::cell::Cell;

/// What is used unless `TOLLGATE_SEED` says otherwise.
const DEFAULT: u64 = 20_261_125;

/// Whether the long variants were asked for.
pub(crate) fn long() -> bool {
    std::env::var("TOLLGATE_EXPERIMENTS").is_ok_and(|which| which == "long")
}

/// The seed, and the numbers that follow from it (SplitMix64).
pub(crate) struct Seed {
    pub(crate) start: u64,
    state: Cell<u64>,
}

impl Seed {
    pub(crate) fn from_env() -> Self {
        let given = std::env::var("TOLLGATE_SEED").ok();
        let start = given.map_or(DEFAULT, |text| text.parse().unwrap());
        Self {
            start,
            state: Cell::new(start),
        }
    }

    /// A number from 0 up to, and without, `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end as u64).unwrap()
    }
}
