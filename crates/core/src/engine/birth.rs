//! The making of a run, the same for events, calls and replays.

use super::Engine;
use crate::auth::Principal;
use crate::chain::{Chain, Link};
use crate::error::Error;
use crate::event::EventType;
use crate::function::Executable;
use crate::ids::{EventId, InvocationId, UserId};
use crate::invocation::{NewInvocation, Trigger, Waiter};
use crate::json::JsonText;
use crate::ports::dispatch::{Acting, Taken, TaskRun};
use crate::registry::UserParams;
use crate::subscriber::SubscriberOptions;
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
    pub(crate) user: Option<UserId>,
    pub(crate) chain: Chain,
    pub(crate) params: JsonText,
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
        acting: Acting,
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
            chain: cause.chain,
            params: cause.params,
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
        Ok(TaskRun {
            invocation,
            taken: Taken::at_birth(holder),
            executable,
            acting,
            deadline: None,
        })
    }

    /// `user_data` of the runs that `principal` causes.
    pub(crate) fn user_data(principal: &Principal) -> Option<JsonText> {
        JsonText::of(&UserParams::from(principal.user())).ok()
    }

    /// In whose name a function runs that `principal` causes: `link` is added to the chain of
    /// what it calls itself.
    pub(crate) fn acting(
        &self,
        principal: &Principal,
        user_data: Option<JsonText>,
        link: Link,
        executable: &Executable,
    ) -> Acting {
        let chain = principal.chain().with(link);
        let host = self.host_of(Some(principal.clone().within_chain(chain)), executable);
        Acting { user_data, host }
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
