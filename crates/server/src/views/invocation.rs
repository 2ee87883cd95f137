//! Invocations, in the shape that existing clients read.

use crate::words;
use serde::Serialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use tollgate_core::ids::{EventId, TaskId};
use tollgate_core::invocations::{AttemptRecord, Invocation, LogLine, VerdictKind};
use tollgate_core::json::JsonText;
use tollgate_core::tasks::Failure;
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// One run of a function.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvocationView {
    id: i64,
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    /// The same, under the name that existing clients read.
    #[schema(value_type = String, format = "uuid")]
    celery_task_id: TaskId,
    #[schema(schema_with = words::status)]
    status: &'static str,
    /// The finer state.
    #[schema(schema_with = words::state)]
    state: &'static str,
    function: i64,
    function_name: String,
    function_slug: String,
    version: u32,
    #[schema(schema_with = words::event_or_null)]
    event: Option<&'static str>,
    #[schema(value_type = Option<String>, format = "uuid")]
    event_id: Option<EventId>,
    #[schema(schema_with = words::trigger)]
    trigger_type: &'static str,
    attempt: u32,
    max_attempts: u32,
    user_id: Option<i64>,
    user_username: Option<String>,
    user_email: Option<String>,
    /// In whose name it acts: whoever redrove or replayed it, else whoever caused it, unless a function
    /// acts by its own right.
    acting_user_id: Option<i64>,
    acting_username: Option<String>,
    /// The function by whose own right it acts, which has `acts_as: "function"`: itself, or one that
    /// called it.
    acting_function_id: Option<i64>,
    acting_function_slug: Option<String>,
    task_result: Option<TaskView>,
    error: Option<ErrorView>,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<LogView>>)]
    logs: Option<Vec<LogLine>>,
    log_count: u32,
    has_error: bool,
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    duration_ms: Option<f64>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Attempts that do not count: lost with their worker, put off, handed back, or not possible on
    /// the server.
    uncounted: u32,
    /// Who holds it while it has not ended; none while it waits for its turn or its time.
    holder: Option<String>,
    /// When its next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    /// Every attempt, the newest last.
    attempts: Vec<AttemptView>,
    /// What the PRE stage made of it.
    verdict: Option<VerdictView>,
    /// What it changed of the proposed record: by dotted path, each with `from` and `to`.
    #[schema(value_type = Option<Object>)]
    changes: Option<JsonText>,
    /// The request that caused it; none when the program or a function did.
    #[schema(value_type = Option<Object>)]
    request: Option<JsonText>,
    /// For a replay: the run that it repeats.
    replay_of: Option<i64>,
    /// How often it was redriven as a dead letter.
    redrives: u32,
    /// When it was redriven last.
    #[schema(value_type = Option<String>, format = DateTime)]
    redriven_at: Option<Timestamp>,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

/// One attempt of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// From 1, through all redrives.
    number: u32,
    /// The version that it ran.
    version: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// None while it is under way.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    worker: Option<String>,
    error: Option<ErrorView>,
    log_count: u32,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<LogView>>)]
    logs: Option<Vec<LogLine>>,
    /// Whether it is one of `max_attempts`.
    counts: bool,
    /// Whether it is the first after a redrive.
    redriven: bool,
}

/// What the PRE stage made of a run.
#[derive(Debug, Serialize, ToSchema)]
struct VerdictView {
    #[schema(schema_with = words::verdict_kind)]
    kind: &'static str,
    /// Why not, for `denied` and `broken`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// For `enriched`: what was changed, by dotted path; empty when the operation was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
    /// All of this on one line, for people.
    summary: String,
}

/// What an ended run returned.
#[derive(Debug, Serialize, ToSchema)]
struct TaskView {
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    #[schema(schema_with = words::status)]
    status: &'static str,
    #[schema(schema_with = words::returned, required = true)]
    result: Option<JsonText>,
    traceback: Option<String>,
    #[schema(value_type = Object)]
    task_args: JsonText,
    task_kwargs: Empty,
    #[schema(value_type = String)]
    task_name: &'static str,
    #[schema(value_type = String, format = DateTime)]
    date_created: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    date_done: Option<Timestamp>,
    worker: Option<String>,
    meta: Empty,
}

/// `{}`.
#[derive(Debug, Serialize, ToSchema)]
struct Empty {}

/// Why a run gave no result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorView {
    #[schema(schema_with = words::failure_kind)]
    kind: &'static str,
    message: String,
    traceback: Option<String>,
}

/// One line that a function logged or printed.
#[derive(Serialize, ToSchema)]
struct LogView {
    #[schema(format = DateTime)]
    timestamp: String,
    #[schema(schema_with = words::level)]
    level: String,
    #[schema(schema_with = words::logger)]
    logger: String,
    message: String,
}

/// The record of a run that failed while its caller waited.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvocationOnly {
    #[schema(value_type = InvocationView)]
    pub(crate) invocation: Box<InvocationView>,
}

/// What has become of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskResultView {
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    #[schema(schema_with = words::status)]
    status: &'static str,
    #[schema(schema_with = words::returned, required = true)]
    result: Option<JsonText>,
    traceback: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    date_created: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    date_done: Option<Timestamp>,
}

impl InvocationView {
    /// With its logs.
    pub(crate) fn full(mut invocation: Invocation) -> Self {
        let logs = std::mem::take(&mut invocation.logs);
        let kept = invocation.earlier.iter_mut();
        let mut of_attempts: Vec<_> = kept.map(|it| std::mem::take(&mut it.logs)).collect();
        let newest = invocation.newest().map(|it| it.log_count > 0);
        of_attempts.extend(newest.map(|logged| if logged { logs.clone() } else { Vec::new() }));
        let mut view = Self::of(invocation);
        for (attempt, logs) in view.attempts.iter_mut().zip(of_attempts) {
            attempt.logs = Some(logs);
        }
        view.logs = Some(logs);
        view
    }

    /// Without its logs, for lists.
    pub(crate) fn of(mut invocation: Invocation) -> Self {
        let verdict = VerdictView::of(&invocation);
        let newest = invocation.newest();
        let attempts = std::mem::take(&mut invocation.earlier);
        let attempts = attempts.into_iter().chain(newest).map(AttemptView::from);
        let task_result = invocation
            .state
            .is_final()
            .then(|| TaskView::of(&invocation));
        let duration = invocation.started_at.zip(invocation.finished_at);
        let behalf = invocation.behalf;
        let (acting_user, acting_username) = match (behalf.asker, behalf.function) {
            (Some(asker), _) => (Some(asker), invocation.asker_username),
            (None, Some(_)) => (None, None),
            (None, None) => (invocation.user_id, invocation.user_username.clone()),
        };
        Self {
            id: invocation.id.0,
            task_id: invocation.task_id,
            celery_task_id: invocation.task_id,
            status: invocation.state.status(),
            state: invocation.state.as_str(),
            function: invocation.function_id.0,
            function_name: invocation.function_name,
            function_slug: invocation.function_slug,
            version: invocation.version,
            event: invocation.event.map(|event| event.as_str()),
            event_id: invocation.event_id,
            trigger_type: invocation.trigger.as_str(),
            attempt: invocation.attempt,
            max_attempts: invocation.max_attempts,
            user_id: invocation.user_id.map(|user| user.0),
            user_username: invocation.user_username,
            user_email: invocation.user_email,
            acting_user_id: acting_user.map(|user| user.0),
            acting_username,
            acting_function_id: behalf.function.map(|function| function.0),
            acting_function_slug: invocation.acting_function_slug,
            task_result,
            has_error: invocation.failure.is_some(),
            error: invocation.failure.map(ErrorView::from),
            logs: None,
            log_count: invocation.log_count,
            queued_at: invocation.queued_at,
            started_at: invocation.started_at,
            finished_at: invocation.finished_at,
            duration_ms: duration.map(|(start, end)| millis(end.since(start))),
            created_at: invocation.queued_at,
            updated_at: invocation.updated_at,
            uncounted: invocation.uncounted,
            holder: invocation.holder,
            due_at: invocation.due_at,
            attempts: attempts.collect(),
            verdict,
            changes: invocation.changes,
            request: invocation.request,
            replay_of: invocation.replay_of.map(|of| of.0),
            redrives: invocation.redrives,
            redriven_at: invocation.redriven_at,
            damaged: invocation.damaged,
        }
    }
}

impl From<AttemptRecord> for AttemptView {
    fn from(attempt: AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            version: attempt.version,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            worker: attempt.worker,
            error: attempt.failure.map(ErrorView::from),
            log_count: attempt.log_count,
            logs: None,
            counts: attempt.counts,
            redriven: attempt.redriven,
        }
    }
}

impl VerdictView {
    fn of(invocation: &Invocation) -> Option<Self> {
        let verdict = invocation.verdict.as_ref()?;
        let (message, fields) = match verdict.kind {
            VerdictKind::Allow => (None, None),
            VerdictKind::Enrich => (None, Some(changed(invocation.changes.as_ref()))),
            VerdictKind::Deny => (verdict.message.clone(), None),
            VerdictKind::Broken => {
                let failure = invocation.failure.as_ref();
                (failure.map(|it| it.message.clone()), None)
            }
        };
        let kind = verdict.kind.shown();
        let summary = match (&message, fields.as_deref().unwrap_or_default()) {
            (Some(message), _) => format!("{kind}: {message}"),
            (None, []) => kind.to_owned(),
            (None, fields) => format!("{kind} {}", fields.join(", ")),
        };
        Some(Self {
            kind,
            message,
            fields,
            summary,
        })
    }
}

/// The paths that an enrichment changed.
fn changed(changes: Option<&JsonText>) -> Vec<String> {
    let changes = changes.and_then(|it| it.read::<BTreeMap<String, IgnoredAny>>().ok());
    changes.map_or_else(Vec::new, |it| it.into_keys().collect())
}

impl TaskView {
    fn of(invocation: &Invocation) -> Self {
        Self {
            task_id: invocation.task_id,
            status: invocation.state.status(),
            result: invocation.result.clone(),
            traceback: traceback(invocation.failure.as_ref()),
            task_args: invocation.params.clone(),
            task_kwargs: Empty {},
            task_name: "functions.execute",
            date_created: invocation.queued_at,
            date_done: invocation.finished_at,
            worker: invocation.worker.clone(),
            meta: Empty {},
        }
    }
}

impl From<Invocation> for TaskResultView {
    fn from(invocation: Invocation) -> Self {
        Self {
            task_id: invocation.task_id,
            status: invocation.state.status(),
            traceback: traceback(invocation.failure.as_ref()),
            result: invocation.result,
            date_created: invocation.queued_at,
            date_done: invocation.finished_at,
        }
    }
}

impl From<Failure> for ErrorView {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind.as_str(),
            message: failure.message,
            traceback: failure.traceback,
        }
    }
}

/// Clients look here for the reason, so a failure without a traceback gives its message.
fn traceback(failure: Option<&Failure>) -> Option<String> {
    failure.map(|it| it.traceback.clone().unwrap_or_else(|| it.message.clone()))
}

/// Milliseconds with the microseconds as three decimals, without the noise of binary fractions.
fn millis(duration: std::time::Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}
