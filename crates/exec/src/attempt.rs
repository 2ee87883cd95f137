//! One attempt: from a task to a finished run.

use crate::executor::Shared;
use crate::running::Stop;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::oneshot;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::function::CallContext;
use tollgate_core::invocation::{Failure, FailureKind, Waiter};
use tollgate_core::limits;
use tollgate_core::ports::dispatch::{FinishedRun, TaskRun};
use tollgate_core::ports::runtime::{Call, HostCalls, RunReport, Runtime};

/// One of the runs that a function with a bound of its own may have at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The run has it already, or needs none.
    Taken,
    /// Somebody waits for the run, so it waits for its place here, within its time.
    Wanted,
}

/// Runs one attempt to its end. None when it was abandoned and its record must stay open.
pub(crate) async fn attempt(
    shared: &Shared,
    runtime: Arc<dyn Runtime>,
    run: TaskRun,
    place: Place,
    stopped: oneshot::Receiver<Stop>,
) -> Option<FinishedRun> {
    failpoint::hit(Point::RunBefore);
    let started_at = shared.clock.now();
    let (executable, event) = (Arc::clone(&run.executable), run.invocation.event);
    let call = call(shared, run);
    let host = Arc::clone(&call.host);
    // A panic here is our bug, or a registered Rust function's; its record must still end.
    let guarded = AssertUnwindSafe(in_turn(shared, &*runtime, call, place)).catch_unwind();
    let mut report = tokio::select! {
        report = guarded => report.unwrap_or_else(|_| {
            RunReport::failed(Failure::new(FailureKind::Crashed, "The runtime panicked"))
        }),
        // Dropping the run ends it and everything that it started.
        Ok(stop) = stopped => match stop {
            Stop::Record(failure) => RunReport::failed(failure),
            Stop::Abandon => return None,
        },
    };
    // Before anybody else sees it.
    report = redacted(host, report).await;
    if let Err(failure) = &report.result
        && failure.kind == FailureKind::Gone
        && let (Some(event), Some(coordinator)) = (event, shared.coordinator())
    {
        coordinator.gone(&executable, event).await;
    }
    failpoint::hit(Point::RunAnswered);
    Some(FinishedRun {
        report,
        started_at,
        finished_at: shared.clock.now(),
    })
}

/// Takes secrets out of a report; of a long one where nobody waits meanwhile.
async fn redacted(host: Arc<dyn HostCalls>, mut report: RunReport) -> RunReport {
    if report.bytes() <= limits::REDACTED_BYTES_INLINE {
        host.redact(&mut report);
        return report;
    }
    let looked_through = tokio::task::spawn_blocking(move || {
        host.redact(&mut report);
        report
    });
    // What was not looked through is shown to nobody.
    looked_through.await.unwrap_or_else(|_| {
        let message = "What the function reported could not be looked through for secrets";
        RunReport::failed(Failure::new(FailureKind::Crashed, message))
    })
}

async fn in_turn(shared: &Shared, runtime: &dyn Runtime, call: Call, place: Place) -> RunReport {
    if place == Place::Taken {
        return runtime.run(call).await;
    }
    let patience = call.allotted(shared.clock.monotonic());
    let entered = shared.turns.enter(&call.executable);
    let Ok(_place) = tokio::time::timeout(patience, entered).await else {
        let message = format!(
            "As many runs as max_concurrency allows were under way for all of {patience:.1?}"
        );
        return RunReport::failed(Failure::new(FailureKind::Timeout, message));
    };
    runtime.run(call).await
}

fn call(shared: &Shared, run: TaskRun) -> Call {
    let TaskRun {
        invocation,
        taken,
        executable,
        acting,
        deadline,
    } = run;
    let now = shared.clock.monotonic();
    let own = now + invocation.timeout;
    let deadline = deadline.map_or(own, |stage| stage.min(own));
    let somebody_waits = invocation.waiter == Waiter::Caller;
    let context = CallContext {
        id: executable.function_id,
        name: executable.function_name.clone(),
        slug: executable.function_slug.clone(),
        version: executable.version,
        app_slug: executable.app_slug.clone(),
        execution_id: invocation.task_id,
        attempt: taken.attempt.number,
        deadline: shared
            .clock
            .now()
            .plus(deadline.saturating_duration_since(now)),
        event: invocation
            .event
            .map(tollgate_core::event::EventType::as_str),
        event_id: invocation.event_id,
    };
    Call {
        executable,
        timeout: invocation.timeout,
        params: invocation.params,
        user_data: acting.user_data,
        context,
        deadline: somebody_waits.then_some(deadline),
        host: acting.host,
    }
}
