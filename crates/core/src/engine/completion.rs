//! From a finished run to what is written over its record.

use crate::invocations::{Completion, NewInvocation};
use crate::ports::dispatch::{FinishedRun, Taken};
use crate::tasks::{Attempt, Failure, FailureKind, Input, State, Task, retry_delay};
use std::sync::Arc;

/// The completion of one attempt, decided by [`crate::tasks`].
///
/// `invocation` names the version that ran. `random` is any number, for jitter. A run that the rules say cannot end so is a bug; it is
/// recorded as failed rather than left open.
pub fn completion(
    invocation: &NewInvocation,
    taken: &Taken,
    finished: FinishedRun,
    random: u64,
) -> Completion {
    let Attempt { number, uncounted } = taken.attempt;
    let task = Task {
        state: State::Running,
        held: true,
        attempt: number,
        uncounted,
        max_attempts: invocation.max_attempts,
        waiter: invocation.waiter,
    };
    let (input, delay) = match &finished.report.result {
        Ok(_) => (Input::Succeed, None),
        // Its worker stops, and it runs again.
        Err(failure) if failure.kind == FailureKind::Lost => (Input::Release, None),
        Err(Failure {
            kind, retry_after, ..
        }) => {
            let tried = match kind {
                FailureKind::Unavailable => uncounted.saturating_add(1),
                _ => number - uncounted.min(number),
            };
            let delay = retry_delay(tried, random, *retry_after);
            (Input::Fail(*kind), Some(delay))
        }
    };
    let next = task.apply(input);
    let state = next.as_ref().map_or(State::Failed, |task| task.state);
    let uncounted = next.is_ok_and(|task| task.uncounted > uncounted);
    let due_in = delay.filter(|_| state == State::Retrying);
    let (result, failure) = match finished.report.result {
        Ok(value) => (Some(value), None),
        Err(failure) => (None, Some(failure)),
    };
    Completion {
        site_id: invocation.site_id,
        id: invocation.id,
        born: None,
        hold: taken.hold.clone(),
        state,
        uncounted,
        version_id: invocation.version_id,
        version: invocation.version,
        result,
        failure,
        verdict: None,
        changes: None,
        logs: finished.report.logs,
        worker: finished.report.worker,
        started_at: finished.started_at,
        finished_at: finished.finished_at,
        due_in,
    }
}

/// The same for a run's only attempt, with the record itself: it may not be on disk yet.
pub(super) fn whole(
    invocation: &Arc<NewInvocation>,
    taken: &Taken,
    finished: FinishedRun,
) -> Completion {
    Completion {
        born: Some(Arc::clone(invocation)),
        ..completion(invocation, taken, finished, 0)
    }
}
