//! Writing invocations: births, beginnings and ends of attempts.
//!
//! Which state follows is decided before; here every write only guards on the state and hold that
//! it was decided upon. What can be prepared is prepared on the caller's thread, because the
//! writer's time is everybody's.
//!
//! `now` is the store's time. What began and ended when is the word of whoever ran it; what is due, and what a
//! waiting record last changed, is not.

use crate::attempts;
use crate::error::{DbError, DbResult, ensure_rows};
use crate::rows::{json, micros, write};
use rusqlite::{Connection, params};
use tollgate_core::ids::VersionId;
use tollgate_core::invocations::{Completion, NewInvocation, Started};
use tollgate_core::json::JsonText;
use tollgate_core::tasks::{State, Waiter};
use tollgate_core::time::Timestamp;

/// A record, open or whole.
const INSERT: &str = "
    INSERT INTO invocations (id, site_id, task_id, function_id, version_id, version, event,
        event_id, trigger, waiter, state, holder, attempt, max_attempts, user_id, chain_depth,
        timeout_us, queued_at, started_at, updated_at, params, replay_of, fence, chain, pinned,
        asker_id, acting_function_id, acting_from, worker, finished_at, due_at, log_count,
        failure_kind, failure_message, failure_retry_after_us, result, changes, failure_traceback,
        logs, verdict, verdict_message, uncounted, request)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
        ?20, ?21, ?22, ?13, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36,
        ?37, ?38, ?39, ?40, ?41, ?42) ON CONFLICT (id) DO NOTHING";
const COMPLETE: &str = "
    UPDATE invocations SET state = ?4, holder = NULL, worker = ?5, started_at = ?6,
        finished_at = ?7, due_at = ?8, updated_at = ?9, log_count = ?10, failure_kind = ?11,
        failure_message = ?12, failure_retry_after_us = ?13, result = ?14, changes = ?15,
        failure_traceback = ?16, logs = ?17, verdict = ?18, verdict_message = ?21,
        uncounted = uncounted + ?20, version_id = ?22, version = ?23
    WHERE id = ?1 AND site_id = ?2 AND fence = ?3 AND holder = ?19
        AND state IN ('pending', 'running', 'retrying')";
const STARTED: &str = "
    UPDATE invocations SET state = 'running', started_at = ?4, updated_at = ?4, version_id = ?6,
        version = ?7
    WHERE id = ?1 AND site_id = ?2 AND fence = ?3 AND holder = ?5
        AND state IN ('pending', 'running', 'retrying')";

/// An invocation of another site in a scoped store. A bug of the caller.
#[derive(Debug, thiserror::Error)]
#[error("invocation {id} belongs to site {found}, not to site {scope}")]
struct WrongSite {
    id: i64,
    found: i64,
    scope: i64,
}

/// How a record stands when it is inserted.
struct Standing {
    state: State,
    /// Attempt and fence, which are the same then.
    attempt: u32,
    version_id: VersionId,
    version: u32,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    changed_at: Timestamp,
}

impl Standing {
    /// Held runs are at their first attempt. Somebody waits for it: it runs at once. Nobody does: it
    /// stands in its holder's memory until that notes the start. Or it has ended by now. Nothing was queued
    /// later than now: it would not be due.
    fn of(new: &NewInvocation, end: Option<&Completion>, now: Timestamp) -> Self {
        let queued_at = new.queued_at.min(now);
        if let Some(end) = end {
            return Self {
                queued_at,
                state: end.state,
                attempt: end.hold.fence,
                version_id: end.version_id,
                version: end.version,
                started_at: Some(end.started_at),
                changed_at: changed_at(end, now),
            };
        }
        let (state, attempt) = match (&new.holder, new.waiter) {
            (None, _) => (State::Pending, 0),
            (Some(_), Waiter::Caller) => (State::Running, 1),
            (Some(_), Waiter::Nobody) => (State::Pending, 1),
        };
        Self {
            state,
            attempt,
            version_id: new.version_id,
            version: new.version,
            queued_at,
            started_at: (state == State::Running).then_some(queued_at),
            changed_at: queued_at,
        }
    }
}

/// When a record changed by this end: one that waits again is due as long after this as was meant.
fn changed_at(end: &Completion, now: Timestamp) -> Timestamp {
    match end.state.is_final() {
        true => end.finished_at,
        false => now,
    }
}

/// When the next attempt is due.
fn due_at(end: &Completion, now: Timestamp) -> Option<i64> {
    end.due_in.map(|delay| now.plus(delay).as_micros())
}

/// Inserts new records of one site.
pub(crate) fn insert(
    connection: &Connection,
    site: i64,
    news: &[NewInvocation],
    now: Timestamp,
) -> DbResult<()> {
    for new in news {
        let rows = insert_record(connection, Some(site), new, None, now)?;
        ensure_rows("insert invocation", rows, 1)?;
    }
    Ok(())
}

/// The site of a record, which must be the scope's.
fn within(scope: Option<i64>, new: &NewInvocation) -> DbResult<i64> {
    let (id, found) = (new.id.0, new.site_id.0);
    match scope.filter(|scope| *scope != found) {
        None => Ok(found),
        Some(scope) => Err(DbError::bug(WrongSite { id, found, scope })),
    }
}

/// Inserts a record unless it is there: as it is born, or with its end. Within `scope`, if given.
fn insert_record(
    connection: &Connection,
    scope: Option<i64>,
    new: &NewInvocation,
    end: Option<&End>,
    now: Timestamp,
) -> DbResult<usize> {
    let (id, site) = (new.id.0, within(scope, new)?);
    let completion = end.map(|end| &end.completion);
    let failure = completion.and_then(|end| end.failure.as_ref());
    let verdict = completion.and_then(|end| end.verdict.as_ref());
    let standing = Standing::of(new, completion, now);
    let calls = (new.chain.depth() > 0).then_some(&new.chain);
    let chain = calls.map(json).transpose()?;
    let mut statement = connection.prepare_cached(INSERT)?;
    let rows = statement.execute(params![
        id,
        site,
        new.task_id.0.as_bytes(),
        new.function_id.0,
        standing.version_id.0,
        standing.version,
        new.event.map(|event| event.as_str()),
        new.event_id.as_ref().map(|id| id.0.as_bytes()),
        new.trigger.as_str(),
        new.waiter.as_str(),
        standing.state.as_str(),
        new.holder.as_deref().filter(|_| end.is_none()),
        standing.attempt,
        new.max_attempts,
        new.user_id.map(|id| id.0),
        new.chain.depth(),
        micros(new.timeout),
        standing.queued_at.as_micros(),
        standing.started_at.map(|at| at.as_micros()),
        standing.changed_at.as_micros(),
        new.params.as_str(),
        new.replay_of.map(|id| id.0),
        chain,
        new.pinned,
        new.behalf.asker.map(|id| id.0),
        new.behalf.function.map(|id| id.0),
        (new.behalf.from > 0).then_some(new.behalf.from),
        completion.map(|end| end.worker.as_str()),
        standing
            .state
            .is_final()
            .then(|| standing.changed_at.as_micros()),
        completion.and_then(|end| due_at(end, now)),
        completion.map_or(0, log_count),
        failure.map(|failure| failure.kind.as_str()),
        failure.map(|failure| failure.message.as_str()),
        failure.and_then(|failure| failure.retry_after).map(micros),
        completion
            .and_then(|end| end.result.as_ref())
            .map(JsonText::as_str),
        completion
            .and_then(|end| end.changes.as_ref())
            .map(JsonText::as_str),
        failure.and_then(|failure| failure.traceback.as_deref()),
        end.and_then(|end| end.logs.as_deref()),
        verdict.map(|verdict| verdict.kind.as_str()),
        verdict.and_then(|verdict| verdict.message.as_deref()),
        completion.is_some_and(|end| end.uncounted),
        new.request.as_ref().map(JsonText::as_str),
    ])?;
    Ok(rows)
}

fn log_count(end: &Completion) -> i64 {
    i64::try_from(end.logs.len()).unwrap_or(i64::MAX)
}

/// An end of an attempt, ready to be bound.
pub(crate) struct End {
    completion: Completion,
    logs: Option<String>,
}

impl End {
    /// Prepares completions on the caller's thread.
    ///
    /// # Errors
    /// When the logs do not serialise, which text always does.
    pub(crate) fn prepare(completions: Vec<Completion>) -> DbResult<Vec<Self>> {
        completions
            .into_iter()
            .map(|completion| {
                let logs = match completion.logs.as_slice() {
                    [] => None,
                    lines => Some(json(lines)?),
                };
                Ok(Self { completion, logs })
            })
            .collect()
    }
}

/// Writes ends of attempts, with the records that are not there yet; one flag each. Within `scope`, if
/// given. An end after which another attempt may follow is kept among the run's attempts as well.
pub(crate) fn complete(
    connection: &Connection,
    scope: Option<i64>,
    ends: &[End],
    now: Timestamp,
) -> DbResult<Vec<bool>> {
    let mut flags = Vec::with_capacity(ends.len());
    for end in ends {
        let completion = &end.completion;
        let foreign = scope.is_some_and(|site| site != completion.site_id.0);
        let written = !foreign && write_end(connection, scope, end, now)?;
        flags.push(written);
        if written && !completion.state.is_final() {
            attempts::keep(connection, completion)?;
        }
    }
    Ok(flags)
}

fn write_end(
    connection: &Connection,
    scope: Option<i64>,
    end: &End,
    now: Timestamp,
) -> DbResult<bool> {
    let End { completion, logs } = end;
    if let Some(born) = &completion.born
        && insert_record(connection, scope, born, Some(end), now)? == 1
    {
        return Ok(true);
    }
    let failure = completion.failure.as_ref();
    let verdict = completion.verdict.as_ref();
    let ended_at = completion.finished_at.as_micros();
    let mut statement = connection.prepare_cached(COMPLETE)?;
    let rows = statement.execute(params![
        completion.id.0,
        completion.site_id.0,
        completion.hold.fence,
        completion.state.as_str(),
        completion.worker,
        completion.started_at.as_micros(),
        completion.state.is_final().then_some(ended_at),
        due_at(completion, now),
        changed_at(completion, now).as_micros(),
        log_count(completion),
        failure.map(|failure| failure.kind.as_str()),
        failure.map(|failure| failure.message.as_str()),
        failure.and_then(|failure| failure.retry_after).map(micros),
        completion.result.as_ref().map(JsonText::as_str),
        completion.changes.as_ref().map(JsonText::as_str),
        failure.and_then(|failure| failure.traceback.as_deref()),
        logs,
        verdict.map(|verdict| verdict.kind.as_str()),
        &*completion.hold.holder,
        completion.uncounted,
        verdict.and_then(|verdict| verdict.message.as_deref()),
        completion.version_id.0,
        completion.version,
    ])?;
    Ok(rows == 1)
}

/// Notes that attempts have begun, and writes the records that are not there yet.
pub(crate) fn started(connection: &Connection, begun: &[Started], now: Timestamp) -> DbResult<()> {
    for start in begun {
        if let Some(born) = &start.born
            && insert_record(connection, None, born, None, now)? == 1
        {
            continue;
        }
        let at = start.started_at.as_micros();
        write(
            connection,
            STARTED,
            params![
                start.id.0,
                start.site_id.0,
                start.hold.fence,
                at,
                &*start.hold.holder,
                start.version_id.0,
                start.version,
            ],
        )?;
    }
    Ok(())
}
