//! Ids from blocks held in memory, so that a row's id is known before the row is written.

use crate::error::Error;
use crate::ports::store::{IdKind, SystemStore};
use parking_lot::Mutex;
use std::ops::Range;

/// Ids asked of the store at a time.
const BLOCK: u32 = 1000;

/// A source of fresh ids of one kind.
pub(crate) struct IdSource {
    kind: IdKind,
    block: Mutex<Range<i64>>,
}

impl IdSource {
    pub(crate) fn new(kind: IdKind) -> Self {
        Self {
            kind,
            block: Mutex::new(0..0),
        }
    }

    /// A fresh id. Asks the store when the block is used up; ids of a block that two callers
    /// asked for at once are partly lost, which only leaves a gap.
    pub(crate) async fn next(&self, store: &dyn SystemStore) -> Result<i64, Error> {
        loop {
            if let Some(id) = self.block.lock().next() {
                return Ok(id);
            }
            let fresh = store.reserve_ids(self.kind, BLOCK).await?;
            let mut block = self.block.lock();
            if block.is_empty() {
                *block = fresh;
            }
        }
    }
}
