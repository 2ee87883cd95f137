//! From a claimed row to a run: finds its code and in whose name it runs.

use super::Engine;
use crate::error::Error;
use crate::event::EventType;
use crate::function::Executable;
use crate::invocation::{Failure, FailureKind, InvocationChanged, NewInvocation};
use crate::ports::dispatch::{Acting, Coordinator, TaskRun};
use crate::ports::store::Claimed;
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
}

#[async_trait]
impl Coordinator for QueueCoordinator {
    async fn resolve(&self, claimed: &Claimed) -> Result<TaskRun, Failure> {
        let row = &claimed.invocation;
        let unavailable = |error: Error| Failure::new(FailureKind::Unavailable, error.to_string());
        let executable = self
            .0
            .version(row.site_id, row.version_id)
            .await
            .map_err(unavailable)?;
        let Some(executable) = executable else {
            return Err(self.stopped(row).await.unwrap_or_else(deleted));
        };
        let acting = self.acting(row, &executable).await.map_err(unavailable)?;
        Ok(TaskRun {
            invocation: row.clone(),
            taken: claimed.taken.clone(),
            executable,
            acting,
            deadline: None,
        })
    }

    async fn stopped(&self, run: &NewInvocation) -> Option<Failure> {
        // When the store cannot tell, the run goes on: it was resolved a moment ago.
        let Ok(None) = self.0.version(run.site_id, run.version_id).await else {
            return None;
        };
        let queue = self.0.queue();
        let found = queue.function_exists(run.site_id, run.function_id);
        Some(match found.await {
            Ok(false) => deleted(),
            Ok(true) | Err(_) => switched_off(),
        })
    }

    async fn gone(&self, executable: &Executable, event: EventType) {
        let (site, function) = (executable.site_id, executable.function_id);
        let queue = self.0.queue();
        let now = self.0.clock.now();
        match queue
            .subscription_gone(site, event, function, executable.version, now)
            .await
        {
            Ok(false) => {}
            Ok(true) => {
                self.0.functions_changed(site);
                tracing::warn!(
                    site.id = site.0,
                    function.id = function.0,
                    event = event.as_str(),
                    "the webhook is gone: its subscription was switched off"
                );
            }
            // The next event finds it gone again.
            Err(error) => tracing::warn!(%error, "a subscription was left as it is"),
        }
    }

    fn announce(&self, change: InvocationChanged) {
        self.0.tell_watchers(change);
    }
}
