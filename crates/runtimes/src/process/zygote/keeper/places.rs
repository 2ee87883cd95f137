//! How many zygotes there are: which one makes room for another site's, and which is let go.

use super::Keeper;
use super::hosts::Host;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::SiteId;
use tollgate_core::supervise::Supervisor;

/// How often it is looked whether a zygote can be let go, or the spare one has died.
const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// A zygote that nobody has asked for that long may make room for another site's.
const UNUSED: Duration = Duration::from_secs(10);
/// How long a site waits for room, and between two looks for it.
const ROOM_LIMIT: Duration = Duration::from_secs(5);
const ROOM_TICK: Duration = Duration::from_millis(50);

impl Keeper {
    /// Lets the zygote go that has been unused for longest, where there are as many as there may be.
    pub(super) async fn make_room(&self, site: SiteId) -> Result<(), String> {
        let deadline = self.clock.monotonic() + ROOM_LIMIT;
        loop {
            if self.has_room(site) {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                return Err(format!(
                    "{} sites run {} functions, which is as many as [python] hosts allows",
                    self.config.hosts_max,
                    self.language.title()
                ));
            }
            tokio::time::sleep(ROOM_TICK).await;
        }
    }

    pub(super) fn has_room(&self, site: SiteId) -> bool {
        let now = self.clock.monotonic();
        let mut hosts = self.hosts.lock();
        hosts
            .sites
            .retain(|&of, host| of == site || host.zygote.is_alive());
        if hosts.sites.len() < self.config.hosts_max || hosts.sites.contains_key(&site) {
            return true;
        }
        let unused = |host: &Host| now.saturating_duration_since(host.used) >= UNUSED;
        let victim = hosts
            .sites
            .iter()
            .filter(|(_, host)| !host.zygote.is_busy())
            .filter(|(_, host)| !host.zygote.has_workers() || unused(host))
            .min_by_key(|(_, host)| (host.zygote.has_workers(), host.used))
            .map(|(&of, _)| of);
        let Some(host) = victim.and_then(|of| hosts.sites.remove(&of)) else {
            return false;
        };
        host.zygote.abandon();
        true
    }

    /// Lets zygotes go that have had no workers for a while, and replaces a spare one that died.
    pub(super) fn tend(self: &Arc<Self>) {
        let now = self.clock.monotonic();
        let idle = |host: &Host| now.saturating_duration_since(host.used) >= self.config.host_idle;
        self.hosts.lock().sites.retain(|_, host| {
            if host.zygote.has_workers() {
                host.used = now;
            }
            let stays = !idle(host);
            if !stays {
                host.zygote.abandon();
            }
            stays
        });
        let asked = self.asked.load(Ordering::Relaxed);
        if asked && !self.has_spare() && self.lasting_trouble().is_none() {
            self.in_background(Arc::clone(self).fill());
        }
    }
}

/// Tends the zygotes for as long as somebody has the keeper.
pub(in crate::process) async fn tend(keeper: Weak<Keeper>, supervisor: Supervisor) {
    loop {
        tokio::select! {
            () = supervisor.stopped() => return,
            () = tokio::time::sleep(TEND_INTERVAL) => {}
        }
        failpoint::hit(Point::LoopHosts);
        match keeper.upgrade() {
            Some(keeper) => keeper.tend(),
            None => return,
        }
    }
}
