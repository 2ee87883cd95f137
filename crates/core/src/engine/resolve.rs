//! From a claimed row to a run: finds its code and in whose name it runs.

use super::Engine;
use crate::error::Error;
use crate::events::EventType;
use crate::functions::Executable;
use crate::invocations::{InvocationChanged, NewInvocation};
use crate::ports::dispatch::{Acting, Coordinator, TaskRun};
use crate::ports::store::Claimed;
use crate::subscribers::Inactive;
use crate::tasks::{Failure, FailureKind};
use async_trait::async_trait;
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
    async fn current(&self, row: &NewInvocation) -> Result<Arc<Executable>, Failure> {
        let found = match row.pinned {
            true => self.0.version(row.site_id, row.version_id).await,
            false => self.0.active(row.site_id, row.function_id).await,
        };
        match found.map_err(unavailable)? {
            Some(executable) => Ok(executable),
            None => Err(self.stopped(row).await),
        }
    }

    /// Why there is nothing to run.
    async fn stopped(&self, row: &NewInvocation) -> Failure {
        let queue = self.0.queue();
        match queue.function_exists(row.site_id, row.function_id).await {
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
    async fn resolve(&self, claimed: &Claimed) -> Result<TaskRun, Failure> {
        let row = &claimed.invocation;
        let executable = self.current(row).await?;
        let acting = self.acting(row, &executable).await.map_err(unavailable)?;
        Ok(TaskRun {
            invocation: row.clone(),
            taken: claimed.taken.clone(),
            executable,
            acting,
            deadline: None,
        })
    }

    async fn begin(&self, mut run: TaskRun) -> Result<TaskRun, Failure> {
        let executable = match self.current(&run.invocation).await {
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
