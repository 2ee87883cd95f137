//! Whose zygote is whose: one for each site, started when needed and again after it was lost.
//!
//! One more is kept ready that is nobody's yet, so that no site's first run waits for an
//! interpreter. It must never be given to two sites, nor go back once a site has had it: what its
//! workers inherit would be shared.

use super::start::{Bounds, CLOSED};
use super::starts::Starts;
use super::{NotStarted, Rooms, Zygote};
use crate::process::claim::Claim;
use crate::process::config::ProcessConfig;
use crate::process::language::Language;
use crate::process::launcher::Plan;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tollgate_core::confinement::Confinement;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::SiteId;
use tollgate_core::time::Clock;

/// How often it is looked whether a zygote can be let go, or the spare one has died.
const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// A zygote that nobody has asked for that long may make room for another site's.
const UNUSED: Duration = Duration::from_secs(10);
/// How long a site waits for room, and between two looks for it.
const ROOM_LIMIT: Duration = Duration::from_secs(5);
const ROOM_TICK: Duration = Duration::from_millis(50);
/// How long things rest before a spare zygote is started: its start would take the processor from
/// the worker that somebody waits for.
const SPARE_DELAY: Duration = Duration::from_millis(200);
/// A zygote that lived that long was not lost in a row with the one before.
const STEADY: Duration = Duration::from_secs(10);
/// Losses in a row that are made up for at once.
const LOSSES_FREE: u32 = 2;

/// What the keepers of a runtime share.
#[derive(Clone)]
pub(in crate::process) struct Ground {
    bounds: Arc<Bounds>,
    rooms: Rooms,
    /// On the folders of workers' files.
    claim: Arc<Claim>,
}

impl Ground {
    pub(in crate::process) fn new(config: &ProcessConfig, clock: &Arc<dyn Clock>) -> Self {
        let claim = Arc::new(Plan::sweep(&config.scratch_dir));
        Self {
            bounds: Arc::new(Bounds::find(config, clock)),
            rooms: Rooms::new(),
            claim,
        }
    }

    /// All processes are gone.
    pub(in crate::process) fn release(&self) {
        self.claim.release();
    }
}

/// The zygotes of a runtime for one language.
pub(in crate::process) struct Keeper {
    language: Language,
    config: Arc<ProcessConfig>,
    clock: Arc<dyn Clock>,
    ground: Ground,
    /// One start at a time. Counts the failed ones in a row.
    starting: tokio::sync::Mutex<u32>,
    hosts: Mutex<Hosts>,
    /// Why the last start failed.
    trouble: Mutex<Option<NotStarted>>,
    /// What the last start found.
    confinement: Mutex<Option<Confinement>>,
    starts: Starts,
    /// It has been said what is missing between sites.
    warned: AtomicBool,
    /// Somebody has wanted a zygote: before that there is no spare one either.
    asked: AtomicBool,
}

#[derive(Default)]
struct Hosts {
    /// Nobody's yet.
    spare: Option<Zygote>,
    sites: HashMap<SiteId, Host>,
}

/// A site's zygote.
struct Host {
    zygote: Zygote,
    since: Instant,
    used: Instant,
    /// Times in a row that the site's zygote was lost soon after it was given one.
    losses: u32,
}

impl Host {
    /// How long its loss is waited out: nothing at first, then 100 ms, doubling up to 5 s.
    fn pause(losses: u32) -> Duration {
        match losses.saturating_sub(LOSSES_FREE) {
            0 => Duration::ZERO,
            more => Duration::from_millis((100_u64 << (more - 1).min(6)).min(5_000)),
        }
    }
}

impl Keeper {
    pub(in crate::process) fn new(
        language: Language,
        config: Arc<ProcessConfig>,
        clock: Arc<dyn Clock>,
        ground: Ground,
    ) -> Arc<Self> {
        Arc::new(Self {
            language,
            config,
            clock,
            ground,
            starting: tokio::sync::Mutex::default(),
            hosts: Mutex::default(),
            trouble: Mutex::default(),
            confinement: Mutex::default(),
            starts: Starts::default(),
            warned: AtomicBool::new(false),
            asked: AtomicBool::new(false),
        })
    }

    /// What its zygotes' workers speak.
    pub(in crate::process) const fn language(&self) -> Language {
        self.language
    }

    /// The zygote of a site, alive, started if need be.
    ///
    /// After a failed start the next one waits: 100 ms, doubling up to 10 s. One that failed is tried once
    /// more before anybody is told, unless every further one would fail the same way.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(in crate::process) async fn get(self: &Arc<Self>, site: SiteId) -> Result<Zygote, String> {
        let mut failed_before = false;
        self.asked.store(true, Ordering::Relaxed);
        loop {
            if let Some(zygote) = self.of_site(site) {
                return Ok(zygote);
            }
            let losses = self.losses(site);
            tokio::time::sleep(Host::pause(losses)).await;
            self.make_room(site).await?;
            let spare = self.hosts.lock().spare.take();
            let zygote = match spare.filter(Zygote::is_alive) {
                Some(zygote) => zygote,
                None => {
                    let mut failures = self.starting.lock().await;
                    // Whoever had the turn before may have left one, or served this site.
                    if self.of_site(site).is_some() || self.has_spare() {
                        continue;
                    }
                    match self.start(&mut failures).await {
                        Ok(zygote) => zygote,
                        Err(reason) if failed_before || !self.may_start() => return Err(reason),
                        Err(_) => {
                            failed_before = true;
                            continue;
                        }
                    }
                }
            };
            if let Some(zygote) = self.give(site, zygote, losses) {
                self.in_background(Arc::clone(self).fill_later());
                return Ok(zygote);
            }
        }
    }

    /// Makes sure that some zygote runs, and tells how function code is confined.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(in crate::process) async fn ready(&self) -> Result<Confinement, String> {
        self.asked.store(true, Ordering::Relaxed);
        let mut failures = self.starting.lock().await;
        if !self.has_spare() && self.hosts.lock().sites.is_empty() {
            let zygote = self.start(&mut failures).await?;
            self.hosts.lock().spare = Some(zygote);
        }
        self.confinement()
            .ok_or_else(|| format!("the {} host has not started", self.language.title()))
    }

    /// How function code is confined; none before that is known, unless no walls are wanted.
    pub(in crate::process) fn confinement(&self) -> Option<Confinement> {
        if !self.config.sandbox {
            return Some(Confinement::Off);
        }
        self.confinement.lock().clone()
    }

    /// Whether workers can be started.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::process) fn health(&self) -> Result<String, String> {
        if let Some(trouble) = &*self.trouble.lock() {
            return Err(trouble.reason.clone());
        }
        let interpreter = self.config.interpreter(self.language);
        let program =
            interpreter.map_or_else(|_| String::new(), |it| it.program.display().to_string());
        let Some(confinement) = self.confinement() else {
            return Ok(program);
        };
        let hosts = self.hosts.lock();
        let alive = hosts.sites.values().filter(|host| host.zygote.is_alive());
        let mut pids: Vec<_> = alive.map(|host| host.zygote.pid()).collect();
        pids.sort_unstable();
        let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
        if pids.is_empty() {
            return Ok(format!("{program}, {confinement}"));
        }
        let pids = pids.join(" ");
        Ok(format!("{program}, zygotes {pids}, {confinement}"))
    }

    /// Ends all zygotes with all workers, and starts no other. Does not wait.
    pub(in crate::process) fn abandon(&self) {
        self.starts.close();
        for zygote in self.alive() {
            zygote.abandon();
        }
    }

    /// The same, and waits until all processes are gone, also those that are about to start.
    pub(in crate::process) async fn close(&self) {
        self.abandon();
        self.starts.all_ended().await;
    }

    fn of_site(&self, site: SiteId) -> Option<Zygote> {
        let mut hosts = self.hosts.lock();
        let host = hosts.sites.get_mut(&site)?;
        host.used = self.clock.monotonic();
        host.zygote.is_alive().then(|| host.zygote.clone())
    }

    /// How often the site's zygote has been lost in a row.
    fn losses(&self, site: SiteId) -> u32 {
        let hosts = self.hosts.lock();
        let lost = hosts.sites.get(&site);
        lost.map_or(0, |host| {
            let lived = self.clock.monotonic().saturating_duration_since(host.since);
            let before = if lived < STEADY { host.losses } else { 0 };
            before.saturating_add(1)
        })
    }

    fn has_spare(&self) -> bool {
        let spare = &self.hosts.lock().spare;
        spare.as_ref().is_some_and(Zygote::is_alive)
    }

    /// All that run.
    fn alive(&self) -> Vec<Zygote> {
        let hosts = self.hosts.lock();
        let sites = hosts.sites.values().map(|host| &host.zygote);
        let all = hosts.spare.iter().chain(sites);
        all.filter(|zygote| zygote.is_alive()).cloned().collect()
    }

    /// Makes `zygote` the site's, unless the site has got one meanwhile: then that stays, and this
    /// one becomes the spare again, which nobody has used.
    fn give(&self, site: SiteId, zygote: Zygote, losses: u32) -> Option<Zygote> {
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

    /// Sees to it that there is a spare one, once the site that took the last one has its worker.
    async fn fill_later(self: Arc<Self>) {
        tokio::time::sleep(SPARE_DELAY).await;
        self.fill().await;
    }

    /// Sees to it that there is a spare one, unless the server is about to stop.
    async fn fill(self: Arc<Self>) {
        let mut failures = self.starting.lock().await;
        if self.has_spare() || self.config.supervisor.is_stopping() {
            return;
        }
        // Its outcome is kept for `health`.
        if let Ok(zygote) = self.start(&mut failures).await {
            self.hosts.lock().spare = Some(zygote);
        }
    }

    /// Starts one.
    async fn start(&self, failures: &mut u32) -> Result<Zygote, String> {
        if let Some(trouble) = self.lasting_trouble() {
            return Err(trouble);
        }
        if *failures > 0 {
            let doubled = 100_u64 << (*failures).min(7).saturating_sub(1);
            let pause = tokio::time::sleep(Duration::from_millis(doubled.min(10_000)));
            tokio::select! {
                () = pause => {}
                () = self.starts.closed() => {}
            }
        }
        let whose = (&*self.config, self.language);
        let Ground {
            bounds,
            rooms,
            claim,
        } = &self.ground;
        match Zygote::start(whose, bounds, rooms, &self.starts, claim).await {
            Ok(zygote) => {
                *failures = 0;
                *self.trouble.lock() = None;
                let found = zygote.confinement().clone();
                let before = self.confinement.lock().replace(found.clone());
                if before.as_ref() != Some(&found) {
                    for line in found.missing() {
                        tracing::warn!("{line}");
                    }
                }
                if self.starts.is_closed() {
                    // `abandon` may have come before there was anything to abandon.
                    zygote.abandon();
                    return Err(CLOSED.to_owned());
                }
                Ok(zygote)
            }
            Err(_) if self.starts.is_closed() => Err(CLOSED.to_owned()),
            Err(trouble) => {
                *failures = failures.saturating_add(1);
                let reason = trouble.reason.clone();
                tracing::error!(reason, failures, "zygote.start_failed");
                *self.trouble.lock() = Some(trouble);
                Err(reason)
            }
        }
    }

    fn may_start(&self) -> bool {
        self.lasting_trouble().is_none() && !self.starts.is_closed()
    }

    /// Why no start can succeed; none while one may.
    fn lasting_trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        let lasting = trouble.as_ref().filter(|trouble| trouble.lasting);
        lasting.map(|trouble| trouble.reason.clone())
    }

    /// Lets the zygote go that has been unused for longest, where there are as many as there may be.
    async fn make_room(&self, site: SiteId) -> Result<(), String> {
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

    fn has_room(&self, site: SiteId) -> bool {
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
    fn tend(self: &Arc<Self>) {
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

    /// Does what nobody waits for.
    fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.config.supervisor.watch_passing("spare", work));
    }
}

/// Tends the zygotes for as long as somebody has the keeper.
pub(in crate::process) async fn tend(keeper: Weak<Keeper>) {
    loop {
        tokio::time::sleep(TEND_INTERVAL).await;
        failpoint::hit(Point::LoopHosts);
        match keeper.upgrade() {
            Some(keeper) if !keeper.starts.is_closed() => keeper.tend(),
            _ => return,
        }
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
