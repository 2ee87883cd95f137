//! Whose zygote is whose.
//!
//! One that a site has had must never be given to another, nor become the spare one again.

use super::Keeper;
use crate::process::zygote::Zygote;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tollgate_core::ids::SiteId;

/// A zygote that lived that long was not lost in a row with the one before.
const STEADY: Duration = Duration::from_secs(10);
/// Losses in a row that are made up for at once.
const LOSSES_FREE: u32 = 2;

#[derive(Default)]
pub(super) struct Hosts {
    /// Nobody's yet.
    pub(super) spare: Option<Zygote>,
    pub(super) sites: HashMap<SiteId, Host>,
}

/// A site's zygote.
pub(super) struct Host {
    pub(super) zygote: Zygote,
    pub(super) since: Instant,
    pub(super) used: Instant,
    /// Times in a row that the site's zygote was lost soon after it was given one.
    pub(super) losses: u32,
}

impl Host {
    /// How long its loss is waited out: nothing at first, then 100 ms, doubling up to 5 s.
    pub(super) fn pause(losses: u32) -> Duration {
        match losses.saturating_sub(LOSSES_FREE) {
            0 => Duration::ZERO,
            more => Duration::from_millis((100_u64 << (more - 1).min(6)).min(5_000)),
        }
    }
}

impl Keeper {
    pub(super) fn of_site(&self, site: SiteId) -> Option<Zygote> {
        let mut hosts = self.hosts.lock();
        let host = hosts.sites.get_mut(&site)?;
        host.used = self.clock.monotonic();
        host.zygote.is_alive().then(|| host.zygote.clone())
    }

    /// How often the site's zygote has been lost in a row.
    pub(super) fn losses(&self, site: SiteId) -> u32 {
        let hosts = self.hosts.lock();
        let lost = hosts.sites.get(&site);
        lost.map_or(0, |host| {
            let lived = self.clock.monotonic().saturating_duration_since(host.since);
            let before = if lived < STEADY { host.losses } else { 0 };
            before.saturating_add(1)
        })
    }

    pub(super) fn has_spare(&self) -> bool {
        let spare = &self.hosts.lock().spare;
        spare.as_ref().is_some_and(Zygote::is_alive)
    }

    /// All that run.
    pub(super) fn alive(&self) -> Vec<Zygote> {
        let hosts = self.hosts.lock();
        let sites = hosts.sites.values().map(|host| &host.zygote);
        let all = hosts.spare.iter().chain(sites);
        all.filter(|zygote| zygote.is_alive()).cloned().collect()
    }

    /// Makes `zygote` the site's, unless the site has got one meanwhile: then that stays, and this
    /// one becomes the spare again, which nobody has used.
    pub(super) fn give(&self, site: SiteId, zygote: Zygote, losses: u32) -> Option<Zygote> {
        let now = self.clock.monotonic();
        let mut hosts = self.hosts.lock();
        let present = hosts.sites.get(&site);
        if present.is_some_and(|host| host.zygote.is_alive()) {
            hosts.spare.get_or_insert(zygote);
            return None;
        }
        if self.starts.is_closed() {
            // `abandon` may have come while it was nobody's.
            zygote.abandon();
        }
        let host = Host {
            zygote: zygote.clone(),
            since: now,
            used: now,
            losses,
        };
        hosts.sites.insert(site, host);
        if hosts.sites.len() > 1
            && let Some(warning) = zygote.confinement().between_sites()
            && !self.warned.swap(true, Ordering::SeqCst)
        {
            tracing::warn!("{warning}");
        }
        Some(zygote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_losses_are_made_up_for_at_once_and_further_ones_ever_later() {
        let pauses: Vec<u128> = (0..12)
            .map(|losses| Host::pause(losses).as_millis())
            .collect();
        assert_eq!(pauses[..5], [0, 0, 0, 100, 200]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[11], 5_000);
    }
}
