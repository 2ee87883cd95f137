//! Starting zygotes: one at a time, ever later after failures, and a spare one when things rest.

use super::{Ground, Keeper};
use crate::process::zygote::Zygote;
use crate::process::zygote::start::CLOSED;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long things rest before a spare zygote is started: its start would take the processor from
/// the worker that somebody waits for.
const SPARE_DELAY: Duration = Duration::from_millis(200);

impl Keeper {
    /// Starts one.
    pub(super) async fn start(&self, failures: &mut u32) -> Result<Zygote, String> {
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

    pub(super) fn may_start(&self) -> bool {
        self.lasting_trouble().is_none() && !self.starts.is_closed()
    }

    /// Why no start can succeed; none while one may.
    pub(super) fn lasting_trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        let lasting = trouble.as_ref().filter(|trouble| trouble.lasting);
        lasting.map(|trouble| trouble.reason.clone())
    }

    /// Sees to it that there is a spare one, once the site that took the last one has its worker.
    pub(super) async fn fill_later(self: Arc<Self>) {
        tokio::select! {
            () = self.config.supervisor.stopped() => {}
            () = tokio::time::sleep(SPARE_DELAY) => self.fill().await,
        }
    }

    /// Sees to it that there is a spare one, unless the server is about to stop.
    pub(super) async fn fill(self: Arc<Self>) {
        let mut failures = self.starting.lock().await;
        if self.has_spare() || self.config.supervisor.is_stopping() {
            return;
        }
        // Its outcome is kept for `health`.
        if let Ok(zygote) = self.start(&mut failures).await {
            self.hosts.lock().spare = Some(zygote);
        }
    }

    /// Does what nobody waits for.
    pub(super) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.config.supervisor.spawn_passing("spare", work);
    }
}
