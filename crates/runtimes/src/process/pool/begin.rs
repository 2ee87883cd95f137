//! A process that has begun with what it was given.
//!
//! Up to there nothing is the code's fault: a host that ends or does not answer is replaced, and so is a worker
//! that does not begin. Must never give up on a host that says anything at all: it would take all its workers
//! along because the machine is slow.

use super::Pool;
use super::ledger::WorkerId;
use crate::process::EXIT_OUT_OF_MEMORY;
use crate::process::language::Language;
use crate::process::protocol::First;
use crate::process::worker::Worker;
use crate::process::zygote::Exit;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tollgate_core::ids::SiteId;

/// In how many steps a silence is waited for: when the server itself did not run for a while, only one of them
/// has passed for that reason.
const STEPS: u32 = 2;

/// Why there is no such process.
#[derive(Debug)]
pub(in crate::process) enum Unbegun {
    /// Its host was lost, or is stuck, or it is stuck itself: the next one may do better.
    Lost(String),
    /// It ended by itself.
    Ended(Option<Exit>),
    /// There is no host, or no room for one.
    NoHost(String),
}

impl Unbegun {
    /// The end of `worker`, whose connection broke.
    pub(in crate::process) async fn after(worker: &mut Worker) -> Self {
        match worker.ended().await {
            Some(Exit::ZygoteGone) => Self::host_ended(),
            None if !worker.zygote.is_alive() => Self::host_ended(),
            exit => Self::Ended(exit),
        }
    }

    fn host_ended() -> Self {
        Self::Lost("its host ended".to_owned())
    }
}

impl Pool {
    /// Orders a process of a site. It has to [`Self::begin`].
    pub(in crate::process) async fn order(
        &self,
        (site, language): (SiteId, Language),
        number: WorkerId,
        memory_mb: u32,
    ) -> Result<Worker, Unbegun> {
        let keeper = self.keeper(language).map_err(Unbegun::NoHost)?;
        let zygote = keeper.get(site).await.map_err(Unbegun::NoHost)?;
        let worker = Worker::start(zygote, number, memory_mb);
        worker.map_err(|error| Unbegun::NoHost(error.to_string()))
    }

    /// The process once it has begun with `first`, and the files that follow it.
    pub(in crate::process) async fn begin(
        &self,
        mut worker: Worker,
        first: &First<'_>,
        files: &[u8],
    ) -> Result<Worker, Unbegun> {
        let error = match begun(&mut worker, (first, files), self.config.begin).await {
            Some(Ok(())) => return Ok(worker),
            Some(Err(error)) => error,
            None => return Err(put_away(worker).await),
        };
        let unbegun = Unbegun::after(&mut worker).await;
        tracing::debug!(worker.id = worker.id, %error, ?unbegun, "worker.broken");
        Err(match unbegun {
            // Without news of its end it may still be there, and its number is not given to another one.
            Unbegun::Ended(Some(Exit::Signal(_))) => died(),
            Unbegun::Ended(Some(Exit::Code(code))) if code != EXIT_OUT_OF_MEMORY => died(),
            unbegun => unbegun,
        })
    }
}

fn died() -> Unbegun {
    Unbegun::Lost("a new worker died before it began".to_owned())
}

/// Whether the worker has begun; none if it does not, and nobody says why.
async fn begun(
    worker: &mut Worker,
    (first, files): (&First<'_>, &[u8]),
    patience: Duration,
) -> Option<io::Result<()>> {
    let (zygote, body) = (worker.zygote.clone(), worker.body());
    let mut begun = pin!(worker.begin(first, files));
    let (mut heard, mut silent) = (zygote.heard(), 0);
    while silent < STEPS {
        if let Ok(begun) = tokio::time::timeout(patience / STEPS, &mut begun).await {
            return Some(begun);
        }
        let now = zygote.heard();
        // A host starts one after the other. Once there is a process, that is what has to say something.
        silent = if now == heard || body.is_born() {
            silent + 1
        } else {
            0
        };
        heard = now;
    }
    None
}

/// Kills a worker that does not begin, or its host with it.
async fn put_away(mut worker: Worker) -> Unbegun {
    let zygote = worker.zygote.clone();
    let reason = if worker.body().is_born() {
        zygote.kill(worker.id);
        "a new worker did not begin"
    } else {
        zygote.give_up_on();
        "the host did not answer"
    };
    if worker.ended().await.is_none() {
        // It does not even do that.
        zygote.give_up_on();
        worker.ended().await;
    }
    tracing::warn!(worker.id, reason, "worker.stuck");
    Unbegun::Lost(reason.to_owned())
}
