//! Room for what is large and held in memory for a moment, counted in bytes.
//!
//! Nobody may take a second piece while holding one of the same room: two who wait for each other would
//! wait for ever.

use crate::ids::SiteId;
use crate::limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in pieces of this size.
const PIECE_BYTES: usize = 1024;

/// Room for the large things of all workers, and for those of one site's.
#[derive(Debug, Clone)]
pub struct Room {
    house: Arc<Semaphore>,
    site: Arc<Semaphore>,
    bytes: usize,
}

/// Room that something takes, as long as this lives.
#[derive(Debug)]
pub struct Taken {
    _house: OwnedSemaphorePermit,
    _site: OwnedSemaphorePermit,
}

/// A room, and each site's part in it.
#[derive(Debug)]
pub struct SiteRooms {
    all: Room,
    sites: Mutex<HashMap<SiteId, Room>>,
}

impl SiteRooms {
    /// Room for so many bytes in all.
    pub fn new(bytes: usize) -> Self {
        Self {
            all: Room::new(bytes),
            sites: Mutex::default(),
        }
    }

    /// A site's part.
    pub fn of(&self, site: SiteId) -> Room {
        let mut sites = self.sites.lock();
        if sites.len() >= limits::SITES_IN_MEMORY && !sites.contains_key(&site) {
            // What they have taken counts for all as before.
            sites.clear();
        }
        let room = sites.entry(site).or_insert_with(|| self.all.of_site());
        room.clone()
    }
}

impl Room {
    /// Room for so many bytes in all.
    pub fn new(bytes: usize) -> Self {
        Self {
            house: Arc::new(Semaphore::new(bytes / PIECE_BYTES)),
            site: Self::for_site(bytes),
            bytes,
        }
    }

    /// One site's part in the same: half.
    pub fn of_site(&self) -> Self {
        Self {
            house: Arc::clone(&self.house),
            site: Self::for_site(self.bytes),
            bytes: self.bytes,
        }
    }

    fn for_site(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes / PIECE_BYTES / 2))
    }

    /// Room, if there is some now.
    pub fn try_take(&self, bytes: usize) -> Option<Taken> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).ok()?;
        let take = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(pieces).ok();
        let _site = take(&self.site)?;
        let _house = take(&self.house)?;
        Some(Taken { _house, _site })
    }

    /// Waits for room, the site's first: whoever has that waits for others only.
    ///
    /// # Errors
    /// When there never is as much.
    pub async fn take(&self, bytes: usize) -> io::Result<Taken> {
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
        assert!(sites[0].try_take(5 * PIECE_BYTES).is_none());
        let third = sites[0].try_take(4 * PIECE_BYTES).unwrap();
        assert!(sites[2].try_take(1).is_none());
        drop(third);
        assert!(sites[2].try_take(1).is_some());
        drop(second);
    }
}
