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
use std::sync::atomic::Ordering;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::functions::CallContext;
use tollgate_core::ids::EventId;
use tollgate_core::invocations::Trigger;
use tollgate_core::limits;
use tollgate_core::pause::{self, Pauses};
use tollgate_core::ports::dispatch::{FinishedRun, TaskRun};
use tollgate_core::ports::runtime::{Call, HostCalls, HostError, Remains, RunReport, Runtime};
use tollgate_core::room::Taken;
use tollgate_core::tasks::{Failure, FailureKind, Waiter};
use tollgate_core::time::Timestamp;

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

    async fn room(&self, bytes: usize) -> Result<Option<Taken>, HostError> {
        pause::asked_by(&self.pauses, self.host.room(bytes)).await
    }

    fn redact(&self, report: &mut RunReport) {
        self.host.redact(report);
    }
}

/// Runs one attempt to its end, which may be that it was told to end: what it logged until then stays.
pub(crate) async fn attempt(
    shared: &Shared,
    runtime: Arc<dyn Runtime>,
    run: TaskRun,
    entry: Entry<'_>,
    mut stopped: Stopped,
) -> FinishedRun {
    failpoint::hit(Point::RunBefore);
    let started_at = shared.clock.now();
    let executable = Arc::clone(&run.executable);
    let waiter = run.invocation.waiter;
    // A replay or a call is nobody's delivery of the event.
    let delivers = run.invocation.trigger == Trigger::Event;
    let event = run.invocation.event.filter(|_| delivers);
    let call = call(shared, run);
    let (host, remains) = (Arc::clone(&call.host), call.remains.clone());
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
    let abandoned = || match waiter {
        Waiter::Caller => stopped_first(),
        Waiter::Nobody => {
            shared.handed_back.fetch_add(1, Ordering::Relaxed);
            handed_back()
        }
    };
    let mut report = match stop {
        Ok(report) => report,
        Err(Stop::Abandon) => remains.report(abandoned()),
        Err(Stop::Record(failure)) => remains.report(failure),
        Err(Stop::Cancel(failure)) => tokio::select! {
            // It may end by itself, so that its worker lives. Its result does not count.
            report = &mut guarded => RunReport { result: Err(failure), ..report },
            () = tokio::time::sleep(limits::CANCEL_GRACE) => remains.report(failure),
            () = stopped.abandoned() => remains.report(abandoned()),
        },
    };
    let finished_at = shared.clock.now();
    within(&mut report, started_at, finished_at);
    // Before anybody else sees it.
    report = redacted(host, report).await;
    if let Err(failure) = &mut report.result
        && failure.kind == FailureKind::Gone
        && let (Some(event), Some(coordinator)) = (event, shared.coordinator())
        && let Some(consequence) = coordinator.gone(&executable, event).await
    {
        failure.message = format!("{}: {consequence}", failure.message);
    }
    failpoint::hit(Point::RunAnswered);
    FinishedRun {
        report,
        started_at,
        finished_at,
    }
}

/// A queued run ends so whose server stops, and runs again.
fn handed_back() -> Failure {
    let message =
        "The server stopped during this attempt, and handed the run back; it does not count";
    Failure::new(FailureKind::Lost, message)
}

/// The same of a run whose caller still waits.
fn stopped_first() -> Failure {
    let message = "The server stopped before this run ended";
    Failure::new(FailureKind::Unavailable, message)
}

/// Nothing was logged before the attempt began or after it ended, whatever its worker says.
fn within(report: &mut RunReport, began: Timestamp, ended: Timestamp) {
    for line in &mut report.logs {
        line.timestamp = line.timestamp.max(began).min(ended.max(began));
    }
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
    let of_event = invocation.event_id.and_then(EventId::occurred_at);
    let caused_at = of_event.unwrap_or(invocation.queued_at);
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
        event: invocation.event,
        event_id: invocation.event_id,
        request: invocation.request,
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
        caused_at,
        remains: Remains::default(),
    }
}
