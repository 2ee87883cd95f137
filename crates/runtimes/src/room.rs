//! Room for what is large and held in memory for a moment, counted in bytes.
//!
//! Nobody may take a second piece while holding one of the same room: two who wait for each other would
//! wait for ever.

use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in pieces of this size.
const PIECE_BYTES: usize = 1024;

/// Room for the large things of all workers, and for those of one site's.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    house: Arc<Semaphore>,
    site: Arc<Semaphore>,
    bytes: usize,
}

/// Room that something takes, as long as this lives.
#[derive(Debug)]
pub(crate) struct Taken {
    _house: OwnedSemaphorePermit,
    _site: OwnedSemaphorePermit,
}

impl Room {
    /// Room for so many bytes in all.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            house: Arc::new(Semaphore::new(bytes / PIECE_BYTES)),
            site: Self::for_site(bytes),
            bytes,
        }
    }

    /// One site's part in the same: half.
    pub(crate) fn of_site(&self) -> Self {
        Self {
            house: Arc::clone(&self.house),
            site: Self::for_site(self.bytes),
            bytes: self.bytes,
        }
    }

    fn for_site(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes / PIECE_BYTES / 2))
    }

    /// Waits for room, the site's first: whoever has that waits for others only.
    pub(crate) async fn take(&self, bytes: usize) -> io::Result<Taken> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).map_err(io::Error::other)?;
        let take = |from: &Arc<Semaphore>| Arc::clone(from).acquire_many_owned(pieces);
        let _site = take(&self.site).await.map_err(io::Error::other)?;
        let _house = take(&self.house).await.map_err(io::Error::other)?;
        Ok(Taken { _house, _site })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_site_has_half_and_all_together_no_more_than_there_is() {
        let room = Room::new(8 * PIECE_BYTES);
        let sites = [room.of_site(), room.of_site(), room.of_site()];
        let take = |site: usize, pieces: usize| sites[site].take(pieces * PIECE_BYTES);
        let first = take(0, 4).now_or_never().unwrap().unwrap();
        assert!(take(0, 1).now_or_never().is_none());
        let second = take(1, 4).now_or_never().unwrap().unwrap();
        assert!(take(2, 1).now_or_never().is_none());
        drop(first);
        assert!(take(2, 4).now_or_never().is_some());
        assert!(take(0, 4).now_or_never().is_some());
        drop(second);
    }
}
