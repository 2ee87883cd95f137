//! Room in memory for the parameters of runs that somebody waits for.
//!
//! Whoever waits for a run holds its parameters meanwhile, and the run may call others and wait for them. So each
//! depth of a chain has room of its own: it is waited for by those who hold less deep room, and never by those who
//! hold deeper one. The deepest runs therefore always go on.

use super::Engine;
use crate::error::Error;
use crate::ids::SiteId;
use crate::limits;
use crate::pause;
use crate::rights::Actor;
use crate::room::{Room, SiteRooms, Taken};
use std::time::Duration;

/// When a refused caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The rooms, by depth.
pub(crate) struct ParamsRooms(Vec<SiteRooms>);

impl Default for ParamsRooms {
    fn default() -> Self {
        let deeper = (0..limits::CHAIN_DEPTH).map(|_| limits::DEEPER_PARAMS_BYTES);
        let all = std::iter::once(limits::PARAMS_BYTES).chain(deeper);
        Self(all.map(SiteRooms::new).collect())
    }
}

impl ParamsRooms {
    /// The room of a site for runs with so many functions above them.
    fn of(&self, site: SiteId, depth: u32) -> Room {
        // Deeper ones are refused anyway.
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        self.0[depth.min(self.0.len() - 1)].of(site)
    }

    /// Room for the parameters of a call from outside.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub(crate) fn enter(&self, site: SiteId, bytes: usize) -> Result<Option<Taken>, Error> {
        if bytes <= limits::SMALL_PARAMS_BYTES {
            return Ok(None);
        }
        // They are there twice: in the record, and on their way to whoever runs it.
        let taken = self.of(site, 0).try_take(bytes.saturating_mul(2));
        taken.map(Some).ok_or_else(|| Error::Busy {
            reason: "The calls with large parameters that are under way take all the memory that there is \
                     for them"
                .to_owned(),
            retry_after: RETRY_AFTER,
        })
    }

    /// Room for what a function asks that has so many above it. It waits without what it holds.
    async fn below(&self, site: SiteId, depth: u32, bytes: usize) -> Result<Option<Taken>, Error> {
        if bytes <= limits::SMALL_PARAMS_BYTES {
            return Ok(None);
        }
        let room = self.of(site, depth);
        if let Some(taken) = room.try_take(bytes) {
            return Ok(Some(taken));
        }
        let taken = pause::waiting_for_a_run(room.take(bytes)).await;
        taken
            .map(Some)
            .map_err(|error| Error::failed("there is no room for parameters", error))
    }
}

impl Engine {
    /// Room for a request of so many bytes that a function makes, until it is answered.
    ///
    /// # Errors
    /// When there never is as much.
    pub(crate) async fn room_for(
        &self,
        actor: &Actor,
        bytes: usize,
    ) -> Result<Option<Taken>, Error> {
        self.params
            .below(actor.site, actor.chain.depth(), bytes)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const SITE: SiteId = SiteId(1);

    #[test]
    fn calls_from_outside_are_refused_when_there_is_no_room_and_small_ones_never() {
        let rooms = ParamsRooms::default();
        // Twice as much is taken, and a site has half of all.
        let most = limits::PARAMS_BYTES / 4;
        let all = rooms.enter(SITE, most).unwrap().unwrap();
        let large = limits::SMALL_PARAMS_BYTES + 1;
        let refused = rooms.enter(SITE, large).unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        assert!(rooms.enter(SITE, large - 1).unwrap().is_none());
        let other = rooms.enter(SiteId(2), most).unwrap();
        assert!(rooms.enter(SiteId(3), large).is_err());
        drop((all, other));
        assert!(rooms.enter(SiteId(3), large).unwrap().is_some());
    }

    #[test]
    fn who_holds_room_never_waits_for_those_who_wait_for_it() {
        let rooms = ParamsRooms::default();
        let half = limits::DEEPER_PARAMS_BYTES / 2;
        let below = |depth| Box::pin(rooms.below(SITE, depth, half));
        let held: Vec<_> = (1..=limits::CHAIN_DEPTH)
            .map(|depth| below(depth).now_or_never().unwrap().unwrap().unwrap())
            .collect();
        let mut waiting: Vec<_> = (1..=limits::CHAIN_DEPTH).map(below).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        // The deepest one ends, and who waits for it goes on; so does the next one above.
        for (held, waiting) in held.into_iter().zip(&mut waiting).rev() {
            drop(held);
            let taken = waiting.as_mut().now_or_never().unwrap().unwrap();
            assert!(taken.is_some());
        }
    }
}
