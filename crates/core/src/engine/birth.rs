//! The making of a run, the same for events, calls and replays.

use super::Engine;
use crate::error::Error;
use crate::events::EventType;
use crate::functions::Executable;
use crate::ids::{EventId, InvocationId, SiteId, UserId};
use crate::invocations::{Chain, NewInvocation, OnBehalf, Trigger};
use crate::json::JsonText;
use crate::ports::dispatch::{Acting, Taken, TaskRun};
use crate::rights::{Actor, ActsAs};
use crate::subscribers::SubscriberOptions;
use crate::tasks::Waiter;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What causes a run.
pub(crate) struct Cause<'a> {
    pub(crate) trigger: Trigger,
    pub(crate) event: Option<(EventType, EventId)>,
    /// The options of the subscription, if there is one.
    pub(crate) options: Option<&'a SubscriberOptions>,
    pub(crate) waiter: Waiter,
    /// Who caused it, and what the function is told of them.
    pub(crate) user: Option<UserId>,
    pub(crate) user_data: Option<JsonText>,
    /// In whose name it acts.
    pub(crate) behalf: OnBehalf,
    pub(crate) chain: Chain,
    pub(crate) params: JsonText,
    /// The request that stands behind it.
    pub(crate) request: Option<JsonText>,
    pub(crate) replay_of: Option<InvocationId>,
    /// Every attempt runs the version that it is born with.
    pub(crate) pinned: bool,
    pub(crate) at: Timestamp,
}

impl Engine {
    /// A run with its number taken. Somebody waits: it is held from its birth. Nobody waits:
    /// whoever has room for it sets the holder.
    pub(crate) async fn new_run(
        &self,
        executable: Arc<Executable>,
        cause: Cause<'_>,
    ) -> Result<TaskRun, Error> {
        let holder = self.dispatcher.holder();
        let invocation = NewInvocation {
            site_id: executable.site_id,
            id: InvocationId(self.invocation_ids.next(&*self.queue()).await?),
            task_id: self.entropy.task_id(cause.at),
            function_id: executable.function_id,
            version_id: executable.version_id,
            version: executable.version,
            pinned: cause.pinned,
            event: cause.event.map(|(event, _)| event),
            event_id: cause.event.map(|(_, id)| id),
            trigger: cause.trigger,
            waiter: cause.waiter,
            user_id: cause.user,
            behalf: on_behalf(&executable, cause.behalf),
            chain: cause.chain,
            params: cause.params,
            request: cause.request,
            max_attempts: match cause.waiter {
                // A caller is told of the first failure.
                Waiter::Caller => 1,
                Waiter::Nobody => max_attempts(&executable, cause.options),
            },
            timeout: timeout(&executable, cause.options),
            holder: (cause.waiter == Waiter::Caller).then(|| Arc::clone(&holder)),
            queued_at: cause.at,
            replay_of: cause.replay_of,
        };
        let acting = self.acting(&invocation, &executable, cause.user_data);
        Ok(TaskRun {
            invocation,
            taken: Taken::at_birth(holder),
            executable,
            acting,
            deadline: None,
        })
    }

    /// `user_data` of a run that this user caused, whatever became of them since.
    pub(crate) async fn user_data_of(
        &self,
        site: SiteId,
        user: Option<UserId>,
    ) -> Result<Option<JsonText>, Error> {
        let Some(user) = user else { return Ok(None) };
        Ok(self.callers.data(site, user).await?)
    }

    /// In whose name a run acts. Nothing is looked up: that is for the calls that it makes.
    pub(crate) fn acting(
        &self,
        run: &NewInvocation,
        executable: &Executable,
        user_data: Option<JsonText>,
    ) -> Acting {
        let host = self.host_of(Actor::of(run, executable.version_id), executable);
        Acting { user_data, host }
    }
}

/// By whose right alone a run acts that is caused on behalf of `cause`.
pub(crate) fn on_behalf(executable: &Executable, cause: OnBehalf) -> OnBehalf {
    match executable.acts_as {
        ActsAs::Caller => cause,
        ActsAs::Function => OnBehalf {
            function: Some(executable.function_id),
            ..cause
        },
    }
}

/// Time limit and attempts of a run that is made again, under its subscription if it still has one.
pub(crate) fn redrive_limits(
    executable: &Executable,
    options: Option<&SubscriberOptions>,
) -> (Duration, u32) {
    (
        timeout(executable, options),
        max_attempts(executable, options),
    )
}

/// Time limit of one run: the subscription's can only shorten the function's.
fn timeout(executable: &Executable, options: Option<&SubscriberOptions>) -> Duration {
    let own = executable.timeout();
    let asked = options.and_then(|options| options.timeout_seconds);
    asked
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(own, |it| it.min(own))
}

/// Attempts of a run that nobody waits for: the subscription's win.
fn max_attempts(executable: &Executable, options: Option<&SubscriberOptions>) -> u32 {
    options
        .and_then(|options| options.max_attempts)
        .unwrap_or_else(|| executable.max_attempts())
}
