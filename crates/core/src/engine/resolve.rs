//! From claimed rows to runs: finds their code and in whose name they run.
//!
//! Must never look the same thing up twice for one claim: each look is a query.

use super::Engine;
use crate::error::Error;
use crate::events::EventType;
use crate::functions::Executable;
use crate::ids::{FunctionId, SiteId, UserId, VersionId};
use crate::invocations::{InvocationChanged, NewInvocation};
use crate::json::JsonText;
use crate::ports::dispatch::{Acting, Coordinator, TaskRun, Unrunnable};
use crate::ports::store::Claimed;
use crate::subscribers::Inactive;
use crate::tasks::{Failure, FailureKind};
use async_trait::async_trait;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

/// What a run ends with whose function is gone. There is nothing that could run again.
pub(crate) fn deleted() -> Failure {
    Failure::new(FailureKind::Deleted, "The function was deleted")
}

/// What a run ends with whose function was switched off: a dead letter, if nobody waits for it.
pub(crate) fn switched_off() -> Failure {
    let message = "The function was switched off; set is_active, then redrive its dead letters";
    Failure::new(FailureKind::Inactive, message)
}

/// Which code a run wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    /// The version that is active when it begins.
    Active(SiteId, FunctionId),
    /// One version of a function, whichever is active.
    Pinned(SiteId, FunctionId, VersionId),
}

impl Wanted {
    const fn by(row: &NewInvocation) -> Self {
        match row.pinned {
            true => Self::Pinned(row.site_id, row.function_id, row.version_id),
            false => Self::Active(row.site_id, row.function_id),
        }
    }
}

/// Looks each key up once.
async fn once_each<K, V, F>(
    keys: impl Iterator<Item = K>,
    look_up: impl Fn(K) -> F,
) -> HashMap<K, V>
where
    K: Copy + Eq + Hash,
    F: Future<Output = V>,
{
    let mut found = HashMap::new();
    for key in keys {
        if let Entry::Vacant(place) = found.entry(key) {
            place.insert(look_up(key).await);
        }
    }
    found
}

/// The engine as the dispatcher sees it.
pub struct QueueCoordinator(Arc<Engine>);

impl QueueCoordinator {
    /// For `engine`'s own dispatcher.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }

    async fn acting(&self, row: &NewInvocation, executable: &Executable) -> Result<Acting, Error> {
        let engine = &self.0;
        let user_data = engine.user_data_of(row.site_id, row.user_id).await?;
        Ok(engine.acting(row, executable, user_data))
    }

    /// What an attempt runs that begins now.
    async fn current(&self, wanted: Wanted) -> Result<Arc<Executable>, Failure> {
        let (found, site, function) = match wanted {
            Wanted::Pinned(site, function, version) => {
                (self.0.version(site, version).await, site, function)
            }
            Wanted::Active(site, function) => (self.0.active(site, function).await, site, function),
        };
        match found.map_err(unavailable)? {
            Some(executable) => Ok(executable),
            None => Err(self.stopped(site, function).await),
        }
    }

    /// What a function is told of whoever caused its run.
    async fn data(&self, caused: (SiteId, Option<UserId>)) -> Result<Option<JsonText>, Failure> {
        let (site, user) = caused;
        let data = self.0.user_data_of(site, user).await;
        data.map_err(unavailable)
    }

    /// Why there is nothing to run.
    async fn stopped(&self, site: SiteId, function: FunctionId) -> Failure {
        let queue = self.0.queue();
        match queue.function_exists(site, function).await {
            Ok(false) => deleted(),
            Ok(true) => switched_off(),
            Err(error) => unavailable(error.into()),
        }
    }
}

fn unavailable(error: Error) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}

#[async_trait]
impl Coordinator for QueueCoordinator {
    async fn resolve(&self, claimed: Vec<Claimed>) -> Vec<Result<TaskRun, Box<Unrunnable>>> {
        let rows = || claimed.iter().map(|claimed| &claimed.invocation);
        let code = once_each(rows().map(Wanted::by), |wanted| self.current(wanted)).await;
        let runs = rows().filter(|row| code.get(&Wanted::by(row)).is_some_and(Result::is_ok));
        let causes: Vec<_> = runs.map(|row| (row.site_id, row.user_id)).collect();
        let data = once_each(causes.into_iter(), |caused| self.data(caused)).await;
        let run = |claimed: Claimed| {
            let row = &claimed.invocation;
            let executable = code.get(&Wanted::by(row)).cloned();
            let executable = executable.unwrap_or_else(|| Err(deleted()));
            let user_data = data.get(&(row.site_id, row.user_id)).cloned();
            match executable.and_then(|it| Ok((it, user_data.unwrap_or(Ok(None))?))) {
                Ok((executable, user_data)) => Ok(TaskRun {
                    acting: self.0.acting(row, &executable, user_data),
                    invocation: claimed.invocation,
                    taken: claimed.taken,
                    executable,
                    deadline: None,
                }),
                Err(failure) => Err(Box::new(Unrunnable { claimed, failure })),
            }
        };
        claimed.into_iter().map(run).collect()
    }

    async fn begin(&self, mut run: TaskRun) -> Result<TaskRun, Failure> {
        let executable = match self.current(Wanted::by(&run.invocation)).await {
            Ok(executable) => executable,
            // When the store cannot tell, the run goes on: it was resolved a moment ago.
            Err(failure) if failure.kind == FailureKind::Unavailable => return Ok(run),
            Err(failure) => return Err(failure),
        };
        if *executable != *run.executable {
            let acting = self.acting(&run.invocation, &executable).await;
            run.acting = acting.map_err(unavailable)?;
        }
        run.invocation.version_id = executable.version_id;
        run.invocation.version = executable.version;
        run.executable = executable;
        Ok(run)
    }

    async fn gone(&self, executable: &Executable, event: EventType) -> Option<&'static str> {
        let (site, function) = (executable.site_id, executable.function_id);
        let queue = self.0.queue();
        let now = self.0.clock.now();
        match queue
            .subscription_gone(site, event, function, executable.version, now)
            .await
        {
            Ok(false) => None,
            Ok(true) => {
                self.0.functions_changed(site);
                let closed = Inactive::Gone.is_closed(event);
                tracing::warn!(
                    site.id = site.0,
                    function.id = function.0,
                    event = event.as_str(),
                    closed,
                    "the webhook is gone: its subscription is closed, or switched off"
                );
                Some(match closed {
                    true => {
                        "it wants no more of these events, so every such operation is refused until \
                         somebody gives the function a webhook that answers, sets is_active of the \
                         subscription to ask this one again, or unsubscribes the function"
                    }
                    false => {
                        "it wants no more of these events, so its subscription was switched off"
                    }
                })
            }
            // The next event finds it gone again.
            Err(error) => {
                tracing::warn!(%error, "a subscription was left as it is");
                None
            }
        }
    }

    fn announce(&self, change: InvocationChanged) {
        self.0.tell_watchers(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::cell::Cell;
    use std::future::ready;

    #[test]
    fn what_many_rows_need_is_looked_up_once() {
        let looks = Cell::new(0);
        let look_up = |key: u32| {
            looks.set(looks.get() + 1);
            ready(key * 2)
        };
        let keys = (0..500).map(|row| row % 3);
        let found = once_each(keys, look_up).now_or_never().unwrap();
        assert_eq!(looks.get(), 3);
        assert_eq!(found, HashMap::from([(0, 0), (1, 2), (2, 4)]));
    }
}
