//! One attempt: from a task to a finished run.

use crate::executor::Shared;
use crate::running::{Stop, Stopped};
use crate::turns::Slot;
use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::value::RawValue;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::function::CallContext;
use tollgate_core::invocation::{Failure, FailureKind, Waiter};
use tollgate_core::limits;
use tollgate_core::pause::{self, Pauses};
use tollgate_core::ports::dispatch::{FinishedRun, TaskRun};
use tollgate_core::ports::runtime::{Call, HostCalls, HostError, RunReport, Runtime};

/// With what a run begins.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// A queued run has its slot and its function's permit.
    Slot(&'a Slot),
    /// Somebody waits for the run, so it waits for its permit here, within its time.
    Waits,
}

/// What a function asks of the platform, with the run that asks.
struct Asking {
    host: Arc<dyn HostCalls>,
    pauses: Arc<Pauses>,
}

#[async_trait]
impl HostCalls for Asking {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        pause::asked_by(&self.pauses, self.host.call(method, args)).await
    }

    fn redact(&self, report: &mut RunReport) {
        self.host.redact(report);
    }
}

/// Runs one attempt to its end. None when it was abandoned and its record must stay open.
pub(crate) async fn attempt(
    shared: &Shared,
    runtime: Arc<dyn Runtime>,
    run: TaskRun,
    entry: Entry<'_>,
    mut stopped: Stopped,
) -> Option<FinishedRun> {
    failpoint::hit(Point::RunBefore);
    let started_at = shared.clock.now();
    let (executable, event) = (Arc::clone(&run.executable), run.invocation.event);
    let call = call(shared, run);
    let host = Arc::clone(&call.host);
    // A panic here is our bug, or a registered Rust function's; its record must still end.
    let guarded = AssertUnwindSafe(in_turn(shared, &*runtime, call, entry)).catch_unwind();
    let guarded = guarded.map(|report| {
        report.unwrap_or_else(|_| {
            RunReport::failed(Failure::new(FailureKind::Crashed, "The runtime panicked"))
        })
    });
    // Dropping the run, when this returns, ends it and everything that it started.
    let mut guarded = pin!(guarded);
    let stop = tokio::select! {
        report = &mut guarded => Ok(report),
        stop = stopped.told() => Err(stop),
    };
    let mut report = match stop {
        Ok(report) => report,
        Err(Stop::Abandon) => return None,
        Err(Stop::Record(failure)) => RunReport::failed(failure),
        Err(Stop::Cancel(failure)) => tokio::select! {
            // It may end by itself, so that its worker lives. Its result does not count.
            report = &mut guarded => RunReport { result: Err(failure), ..report },
            () = tokio::time::sleep(limits::CANCEL_GRACE) => RunReport::failed(failure),
            () = stopped.abandoned() => return None,
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

async fn in_turn(
    shared: &Shared,
    runtime: &dyn Runtime,
    call: Call,
    entry: Entry<'_>,
) -> RunReport {
    if let Entry::Slot(slot) = entry {
        for held in slot.held() {
            call.pauses.hold(held);
        }
        return runtime.run(call).await;
    }
    let patience = call.allotted(shared.clock.monotonic());
    let entered = shared.turns.enter(&call.executable);
    let Ok(permit) = tokio::time::timeout(patience, entered).await else {
        let message = format!(
            "As many runs as max_concurrency allows were under way for all of {patience:.1?}"
        );
        return RunReport::failed(Failure::new(FailureKind::Timeout, message));
    };
    call.pauses.hold(permit.held());
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
    let pauses = Arc::new(Pauses::default());
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
        depth: invocation.chain.depth(),
        host: Arc::new(Asking {
            host: acting.host,
            pauses: Arc::clone(&pauses),
        }),
        pauses,
    }
}
