//! The queue across sites: claims, and what holders leave behind.
//!
//! Every query here uses an index of what has not ended, so that its cost does not grow with
//! history; a test compares the query plans.

use crate::attempts::keep_lost;
use crate::error::{DbError, DbResult, ensure_rows};
use crate::invocations::read_behalf;
use crate::rows::{Record, all, count, exists, first, write};
use rusqlite::{Connection, Row, params};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::events::EventType;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::{EventId, FunctionId, InvocationId, SiteId, TaskId, UserId, VersionId};
use tollgate_core::invocations::{Hold, NewInvocation, Trigger};
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Taken;
use tollgate_core::ports::store::{Claimed, DueLines, Line, Recovered, StoreError};
use tollgate_core::tasks::{Attempt, Waiter};
use tollgate_core::time::Timestamp;

/// What a run whose caller went away with the server ends with.
const CALLER_GONE: &str = "The server stopped while this ran";
/// What the record says of an attempt whose process is gone.
const WORKER_LOST: &str = "The server's process was lost during this attempt, which ended without a report; \
                           it does not count";
/// The same of one whose process stopped in order.
const HANDED_BACK: &str =
    "The server stopped during this attempt, and handed the run back; it does not count";

/// The condition of the index `invocations_waiting`, word by word.
macro_rules! waiting {
    () => {
        "state IN ('pending', 'retrying') AND holder IS NULL"
    };
}

/// The condition of the index `invocations_open`, word by word.
macro_rules! open {
    () => {
        "state IN ('pending', 'running', 'retrying')"
    };
}

/// The site's next line after function ?2 that has something waiting, and when its first is due.
/// One comparison of (site, function) would be shorter, and would walk through all that waits in the
/// line before: SQLite seeks by the first column of such a pair only.
pub(crate) const NEXT_LINE: &str = concat!(
    "SELECT site_id, function_id, COALESCE(due_at, queued_at) FROM invocations WHERE ",
    waiting!(),
    " AND site_id = ?1 AND function_id > ?2 ",
    "ORDER BY site_id, function_id, COALESCE(due_at, queued_at) LIMIT 1"
);
/// The same of the first site after ?1.
pub(crate) const NEXT_SITE: &str = concat!(
    "SELECT site_id, function_id, COALESCE(due_at, queued_at) FROM invocations WHERE ",
    waiting!(),
    " AND site_id > ?1 ",
    "ORDER BY site_id, function_id, COALESCE(due_at, queued_at) LIMIT 1"
);
pub(crate) const DUE: &str = concat!(
    "SELECT id, site_id, task_id, function_id, version_id, version, event, event_id, trigger, ",
    "waiter, user_id, chain, params, request, max_attempts, timeout_us, queued_at, replay_of, pinned, ",
    "asker_id, acting_function_id, acting_from, attempt, uncounted, fence FROM invocations WHERE ",
    waiting!(),
    " AND site_id = ?1 AND function_id = ?2 AND COALESCE(due_at, queued_at) <= ?3 ",
    "ORDER BY COALESCE(due_at, queued_at), id LIMIT ?4"
);
/// What is taken stays pending until its start is noted.
const TAKE: &str = concat!(
    "UPDATE invocations SET holder = ?2, state = 'pending', attempt = attempt + 1, ",
    "fence = fence + 1, due_at = NULL, updated_at = ?3 WHERE id = ?1 AND ",
    waiting!()
);
/// Parameters that are no JSON are kept as a JSON string, so that the record can be shown.
const BURY: &str = concat!(
    "UPDATE invocations SET state = 'dead', due_at = NULL, finished_at = ?2, updated_at = ?2, ",
    "params = iif(json_valid(params), params, json_quote(params)), failure_kind = 'corrupt', ",
    "failure_message = ?3 WHERE id = ?1 AND ",
    waiting!()
);
pub(crate) const NEXT_DUE: &str = concat!(
    "SELECT COALESCE(due_at, queued_at) FROM invocations WHERE ",
    open!(),
    " AND holder IS NULL ORDER BY COALESCE(due_at, queued_at) LIMIT 1"
);
pub(crate) const WAITING: &str = concat!(
    "SELECT COUNT(*) FROM (SELECT 1 FROM invocations WHERE ",
    waiting!(),
    " AND site_id = ?1 LIMIT ?2)"
);
/// What is due later than now and was written by a clock that stood later than now.
macro_rules! early {
    () => {
        concat!(
            open!(),
            " AND holder IS NULL AND COALESCE(due_at, queued_at) > ?1 AND updated_at > ?2"
        )
    };
}
pub(crate) const EARLY: &str = concat!("SELECT 1 FROM invocations WHERE ", early!(), " LIMIT 1");
/// Keeps the delay that was meant.
pub(crate) const BRING_FORWARD: &str = concat!(
    "UPDATE invocations SET due_at = MAX(?1, ?1 + COALESCE(due_at, queued_at) - updated_at), ",
    "updated_at = ?1 WHERE ",
    early!()
);
/// The next holder after ?1 that holds something.
pub(crate) const NEXT_HOLDER: &str = concat!(
    "SELECT holder FROM invocations WHERE ",
    open!(),
    " AND holder > ?1 ORDER BY holder LIMIT 1"
);
pub(crate) const HELD: &str = concat!(
    "SELECT id, holder, fence FROM invocations WHERE ",
    open!(),
    " AND holder = ?1 AND waiter = 'nobody'"
);
pub(crate) const CANCEL: &str = concat!(
    "UPDATE invocations SET state = 'cancelled', holder = NULL, due_at = NULL, finished_at = ?2, ",
    "updated_at = ?2, failure_kind = 'cancelled', failure_message = ?3, ",
    nothing_more!(),
    " WHERE ",
    open!(),
    " AND holder = ?1 AND waiter = 'caller'"
);
/// What an attempt without a report leaves: nothing of the one before it must seem to be its own.
macro_rules! nothing_more {
    () => {
        "worker = NULL, log_count = 0, result = NULL, failure_traceback = NULL, \
         failure_retry_after_us = NULL, logs = NULL"
    };
}
use nothing_more;
/// Waiting again: the start of a held run that is still pending was not noted, so that its attempt
/// is given back.
macro_rules! give_back {
    () => {
        "UPDATE invocations SET attempt = MAX(attempt - 1, 0), state = 'pending', holder = NULL, \
         updated_at = ?2 WHERE state = 'pending' AND "
    };
}
/// The same for one that has begun: the attempt is lost with its worker and does not count.
macro_rules! give_up_attempt {
    () => {
        concat!(
            "UPDATE invocations SET uncounted = MIN(uncounted, 4294967294) + 1, state = 'pending', holder = NULL, \
             updated_at = ?2, failure_kind = 'lost', failure_message = ?3, ",
            nothing_more!(),
            " WHERE state = 'running' AND "
        )
    };
}
/// What was begun and has lost too many workers.
macro_rules! bury_lost {
    () => {
        concat!(
            "UPDATE invocations SET state = 'dead', uncounted = MIN(uncounted, 4294967294) + 1, holder = NULL, \
             due_at = NULL, finished_at = ?2, updated_at = ?2, failure_kind = 'lost', \
             failure_message = ?4, ",
            nothing_more!(),
            " WHERE state = 'running' AND waiter = 'nobody' AND uncounted + 1 >= ?3 AND "
        )
    };
}
/// The worker died. What had begun and was lost too often may be what kills its workers.
pub(crate) const BURY_LOST: &str = concat!(bury_lost!(), open!(), " AND holder = ?1");
pub(crate) const REQUEUE: &str = concat!(
    give_back!(),
    open!(),
    " AND holder = ?1 AND waiter = 'nobody'"
);
pub(crate) const REQUEUE_BEGUN: &str = concat!(
    give_up_attempt!(),
    open!(),
    " AND holder = ?1 AND waiter = 'nobody'"
);
/// Keeps the attempts that [`REQUEUE_BEGUN`] gives up.
pub(crate) const KEEP_BEGUN: &str = concat!(
    keep_lost!(),
    "state = 'running' AND ",
    open!(),
    " AND holder = ?1 AND waiter = 'nobody'"
);
const BURY_ONE: &str = concat!(
    bury_lost!(),
    open!(),
    " AND id = ?5 AND holder = ?1 AND fence = ?6"
);
const REQUEUE_ONE: &str = concat!(
    give_back!(),
    open!(),
    " AND id = ?3 AND holder = ?1 AND fence = ?4"
);
const REQUEUE_ONE_BEGUN: &str = concat!(
    give_up_attempt!(),
    open!(),
    " AND id = ?4 AND holder = ?1 AND fence = ?5"
);
/// Keeps the attempt that [`REQUEUE_ONE_BEGUN`] gives up.
const KEEP_ONE_BEGUN: &str = concat!(
    keep_lost!(),
    "state = 'running' AND ",
    open!(),
    " AND id = ?4 AND holder = ?1 AND fence = ?5"
);

fn read(row: &Row<'_>, holder: &Arc<str>) -> DbResult<Claimed> {
    let mut row = Record::new("invocations", row);
    let invocation = NewInvocation {
        id: InvocationId(row.get("id")?),
        site_id: SiteId(row.get("site_id")?),
        task_id: TaskId(row.uuid("task_id")?),
        function_id: FunctionId(row.get("function_id")?),
        version_id: VersionId(row.get("version_id")?),
        version: row.u32("version")?,
        event: row.word_opt("event", |text| EventType::stored(text).ok())?,
        event_id: row.uuid_opt("event_id")?.map(EventId),
        trigger: row.word("trigger", Trigger::from_text)?,
        waiter: row.word("waiter", Waiter::from_text)?,
        user_id: row.get::<Option<i64>>("user_id")?.map(UserId),
        chain: row.json_opt("chain")?.unwrap_or_default(),
        params: row.json_text("params")?,
        request: row.json_text_opt("request")?,
        max_attempts: row.u32("max_attempts")?,
        timeout: row.span("timeout_us")?,
        queued_at: row.time("queued_at")?,
        replay_of: row.get::<Option<i64>>("replay_of")?.map(InvocationId),
        pinned: row.get("pinned")?,
        behalf: read_behalf(&mut row)?,
        holder: Some(Arc::clone(holder)),
    };
    let attempt = Attempt {
        number: row.u32("attempt")?.saturating_add(1),
        uncounted: row.u32("uncounted")?,
    };
    let hold = Hold {
        holder: Arc::clone(holder),
        fence: row.u32("fence")?.saturating_add(1),
    };
    Ok(Claimed {
        invocation,
        taken: Taken { hold, attempt },
    })
}

/// Lines after `after` whose first run is due: one search each, however many runs wait.
pub(crate) fn due_lines(
    connection: &Connection,
    after: Option<Line>,
    limit: usize,
    now: Timestamp,
) -> DbResult<DueLines> {
    let (mut lines, mut last) = (Vec::new(), after);
    for _ in 0..limit {
        let (site, function) = last.map_or((i64::MIN, i64::MIN), |it| (it.site.0, it.function.0));
        let mut next = first(connection, NEXT_LINE, params![site, function], read_line)?;
        if next.is_none() {
            next = first(connection, NEXT_SITE, params![site], read_line)?;
        }
        let Some((line, due)) = next else {
            return Ok(DueLines { lines, next: None });
        };
        if due <= now.as_micros() {
            lines.push(line);
        }
        last = Some(line);
    }
    Ok(DueLines { lines, next: last })
}

fn read_line(row: &Row<'_>) -> DbResult<(Line, i64)> {
    let (site, function) = (SiteId(row.get(0)?), FunctionId(row.get(1)?));
    Ok((Line { site, function }, row.get(2)?))
}

/// How long it takes until the next run that nobody holds is due.
pub(crate) fn next_due(connection: &Connection, now: Timestamp) -> DbResult<Option<Duration>> {
    first(connection, NEXT_DUE, [], |row| {
        Ok(Timestamp::from_micros(row.get(0)?).since(now))
    })
}

/// Takes what is due and held by no one, oldest first.
pub(crate) fn claim(
    connection: &Connection,
    holder: &Arc<str>,
    wanted: &[(Line, usize)],
    now: Timestamp,
) -> DbResult<Vec<Claimed>> {
    let at = now.as_micros();
    let mut claimed = Vec::new();
    for (line, limit) in wanted {
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        let values = params![line.site.0, line.function.0, at, limit];
        let rows = all(connection, DUE, values, |row| match read(row, holder) {
            // A damaged row is that row's misfortune.
            Err(DbError::Store(error @ StoreError::Corrupt { .. })) => {
                Ok(Err((row.get::<_, i64>(0)?, error.to_string())))
            }
            read => read.map(Ok),
        })?;
        for row in rows {
            match row {
                Ok(run) => {
                    let values = params![run.invocation.id.0, &**holder, at];
                    ensure_rows("claim", write(connection, TAKE, values)?, 1)?;
                    claimed.push(run);
                }
                Err((id, reason)) => {
                    tracing::error!(invocation.id = id, reason, "a queued run cannot be read");
                    write(connection, BURY, params![id, at, reason])?;
                }
            }
        }
    }
    if !claimed.is_empty() {
        failpoint::hit(Point::ClaimTaken);
    }
    Ok(claimed)
}

/// Whoever holds something, by name.
pub(crate) fn holders(connection: &Connection) -> DbResult<Vec<String>> {
    let mut holders: Vec<String> = Vec::new();
    loop {
        let last = holders.last().map_or("", String::as_str);
        match first(
            connection,
            NEXT_HOLDER,
            params![last],
            |row| Ok(row.get(0)?),
        )? {
            Some(next) => holders.push(next),
            None => return Ok(holders),
        }
    }
}

/// Why a run is given up.
fn too_many_lost() -> String {
    format!(
        "This run was lost with its worker, put off, handed back or not possible {} times; it may be what takes \
         workers down",
        limits::UNCOUNTED_MAX
    )
}

/// Puts in order what a dead holder held.
pub(crate) fn rescue(connection: &Connection, holder: &str, now: Timestamp) -> DbResult<Recovered> {
    let values = params![
        holder,
        now.as_micros(),
        limits::UNCOUNTED_MAX,
        too_many_lost()
    ];
    let dead = write(connection, BURY_LOST, values)? as u64;
    let recovered = give_back(connection, holder, WORKER_LOST, now)?;
    Ok(Recovered { dead, ..recovered })
}

/// Puts in order what a holder hands back that stops.
pub(crate) fn hand_back(
    connection: &Connection,
    holder: &str,
    now: Timestamp,
) -> DbResult<Recovered> {
    give_back(connection, holder, HANDED_BACK, now)
}

/// `why` the attempts that had begun ended.
fn give_back(
    connection: &Connection,
    holder: &str,
    why: &str,
    now: Timestamp,
) -> DbResult<Recovered> {
    let at = now.as_micros();
    let cancelled = write(connection, CANCEL, params![holder, at, CALLER_GONE])?;
    write(connection, KEEP_BEGUN, params![holder, at, why])?;
    // First: what waits again afterwards is pending too, but held by nobody.
    let begun = write(connection, REQUEUE_BEGUN, params![holder, at, why])?;
    let requeued = write(connection, REQUEUE, params![holder, at])?;
    Ok(Recovered {
        requeued: (begun + requeued) as u64,
        cancelled: cancelled as u64,
        dead: 0,
    })
}

/// Clocks differ by less than this.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Whether something waits for a moment that a clock which has been set back will reach too late.
pub(crate) fn waits_for_another_clock(connection: &Connection, now: Timestamp) -> DbResult<bool> {
    let values = params![now.as_micros(), now.plus(CLOCK_SLACK).as_micros()];
    exists(connection, EARLY, values)
}

/// Makes what waits so due as long after now as it was meant to be after it was written.
pub(crate) fn bring_forward(connection: &Connection, now: Timestamp) -> DbResult<usize> {
    let values = params![now.as_micros(), now.plus(CLOCK_SLACK).as_micros()];
    write(connection, BRING_FORWARD, values)
}

/// What a holder holds that nobody waits for.
pub(crate) fn held(connection: &Connection, holder: &str) -> DbResult<Vec<(InvocationId, Hold)>> {
    all(connection, HELD, params![holder], |row| {
        let mut row = Record::new("invocations", row);
        let id = InvocationId(row.get("id")?);
        let holder = row.get::<String>("holder")?.into();
        // One that makes no sense fits no claim, and its row stays as it is.
        let fence = row.shown(u32::MAX, |row| row.u32("fence"))?;
        Ok((id, Hold { holder, fence }))
    })
}

/// Queues single runs again, or gives them up.
pub(crate) fn requeue(
    connection: &Connection,
    runs: &[(InvocationId, Hold)],
    now: Timestamp,
) -> DbResult<Recovered> {
    let at = now.as_micros();
    let (most, reason) = (limits::UNCOUNTED_MAX, too_many_lost());
    let mut recovered = Recovered::default();
    for (id, Hold { holder, fence }) in runs {
        let values = params![&**holder, at, most, reason, id.0, fence];
        recovered.dead += write(connection, BURY_ONE, values)? as u64;
        let values = params![&**holder, at, WORKER_LOST, id.0, fence];
        write(connection, KEEP_ONE_BEGUN, values)?;
        let begun = write(connection, REQUEUE_ONE_BEGUN, values)?;
        let values = params![&**holder, at, id.0, fence];
        let waited = write(connection, REQUEUE_ONE, values)?;
        recovered.requeued += (begun + waited) as u64;
    }
    Ok(recovered)
}

/// How many runs of a site wait, counted up to `limit`.
pub(crate) fn waiting(connection: &Connection, site: SiteId, limit: u64) -> DbResult<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    count(connection, WAITING, params![site.0, limit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;

    /// Whatever the history, only the indices of what is open are searched.
    #[test]
    fn the_queue_never_scans_history() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, Timestamp::from_micros(0)).unwrap();
        for (sql, index) in [
            (NEXT_LINE, "invocations_waiting"),
            (NEXT_SITE, "invocations_waiting"),
            (DUE, "invocations_waiting"),
            (WAITING, "invocations_waiting"),
            (NEXT_DUE, "invocations_open"),
            (NEXT_HOLDER, "invocations_open"),
            (HELD, "invocations_open"),
            (CANCEL, "invocations_open"),
            (BURY_LOST, "invocations_open"),
            (REQUEUE, "invocations_open"),
            (REQUEUE_BEGUN, "invocations_open"),
            (KEEP_BEGUN, "invocations_open"),
            (EARLY, "invocations_open"),
            (BRING_FORWARD, "invocations_open"),
        ] {
            let mut statement = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            // Unbound parameters are NULL, which changes no plan.
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            let searches = plan
                .iter()
                .filter(|step| step.contains("invocations"))
                .all(|step| step.starts_with("SEARCH") && step.contains(index));
            let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(searches && !sorts, "{plan:?}: {sql}");
        }
    }
}
