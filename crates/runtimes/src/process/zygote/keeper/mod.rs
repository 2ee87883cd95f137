//! Whose zygote is whose: one for each site, started when needed and again after it was lost.
//!
//! One more is kept ready that is nobody's yet, so that no site's first run waits for an
//! interpreter. It must never be given to two sites, nor go back once a site has had it: what its
//! workers inherit would be shared.

mod hosts;
mod places;
mod starting;

pub(in crate::process) use places::tend;

use self::hosts::{Host, Hosts};
use super::start::Bounds;
use super::starts::Starts;
use super::{NotStarted, Rooms, Zygote};
use crate::process::claim::Claim;
use crate::process::config::ProcessConfig;
use crate::process::language::Language;
use crate::process::launcher::Plan;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tollgate_core::confinement::Confinement;
use tollgate_core::ids::SiteId;
use tollgate_core::time::Clock;

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
        self.bounds.end();
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
}
