//! The bound on what a site may have waiting.
//!
//! The store is asked as seldom as possible: between two counts what was added is added up, which
//! can only overestimate. So a site far from its bound costs one count in as many runs as it may
//! have waiting.

use super::Engine;
use crate::error::Error;
use crate::ids::SiteId;
use crate::limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A site at its bound is counted again after this time at the earliest.
const RECOUNT: Duration = Duration::from_millis(250);
/// When a refused caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
struct Estimate {
    waiting: u64,
    counted_at: Instant,
}

/// Who queues runs: what one of them may fill is less than what there is, so that nobody keeps the others
/// out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queuer {
    /// An event, or whoever repeats what an event caused.
    Event,
    /// Somebody who calls a function.
    Caller,
    /// Nobody who is signed in.
    Stranger,
}

impl Queuer {
    /// How much of a site's queue they may fill.
    const fn part_of(self, most: u64) -> u64 {
        match self {
            Self::Event => most,
            Self::Caller => most - most / 4,
            Self::Stranger => most.div_ceil(2),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Event => "a site",
            Self::Caller => "what calls may fill",
            Self::Stranger => "what public calls may fill",
        }
    }
}

/// What is known of the sites' backlogs.
#[derive(Default)]
pub(crate) struct Backlogs(Mutex<HashMap<SiteId, Estimate>>);

impl Engine {
    /// Lets `count` more queued runs of a site in.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(crate) async fn admit(
        &self,
        site: SiteId,
        queuer: Queuer,
        count: u64,
    ) -> Result<(), Error> {
        let all = self.settings.queue_per_site;
        let most = queuer.part_of(all);
        let now = self.clock.monotonic();
        let known = self.backlogs.0.lock().get(&site).copied();
        let fits = |estimate: &Estimate| {
            // Whoever has nothing waiting may always publish, however many subscribers there are.
            estimate.waiting == 0 || estimate.waiting.saturating_add(count) <= most
        };
        let estimate = match known {
            Some(known) if fits(&known) => known,
            Some(known) if now.saturating_duration_since(known.counted_at) < RECOUNT => known,
            _ => Estimate {
                waiting: self.queue().waiting(site, all).await?,
                counted_at: now,
            },
        };
        let admitted = fits(&estimate);
        let mut sites = self.backlogs.0.lock();
        if sites.len() >= limits::SITES_IN_MEMORY {
            sites.clear();
        }
        let waiting = match sites.get(&site) {
            // Somebody else has added to the same count meanwhile.
            Some(other) if other.counted_at == estimate.counted_at => other.waiting,
            _ => estimate.waiting,
        };
        let waiting = waiting.saturating_add(if admitted { count } else { 0 });
        sites.insert(
            site,
            Estimate {
                waiting,
                ..estimate
            },
        );
        if admitted {
            return Ok(());
        }
        Err(Error::QueueFull {
            most,
            part: queuer.word(),
            retry_after: RETRY_AFTER,
        })
    }
}
