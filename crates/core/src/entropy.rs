//! Randomness as a parameter, and what is made of it: ids and secrets.
//!
//! Must never fall back to a weak source: an [`Entropy`] either fills the whole buffer or panics,
//! because a predictable token is worse than a stopped process.

use crate::ids::{EventId, TaskId};
use crate::time::Timestamp;
use uuid::Uuid;

/// Where randomness comes from. Implementations must be cryptographically secure outside tests.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the whole buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Entropy {
    /// A version 7 UUID: ordered by time, so that index inserts stay at one end.
    pub fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0_u8; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A new task's id.
    pub fn task_id(&self, now: Timestamp) -> TaskId {
        TaskId(self.uuid_v7(now))
    }

    /// A new event's id.
    pub fn event_id(&self, now: Timestamp) -> EventId {
        EventId(self.uuid_v7(now))
    }

    /// A secret of 32 random bytes in lower-case hexadecimal (64 characters).
    pub fn secret(&self) -> String {
        let mut bytes = [0_u8; 32];
        self.fill(&mut bytes);
        crate::text::hex(&bytes)
    }

    /// A number in `0..bound`, near enough to uniform for jitter. `bound` 0 gives 0.
    pub fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}
