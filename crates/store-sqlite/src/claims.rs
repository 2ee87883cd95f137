//! The queue across sites: claims, and what an earlier process left behind.
//!
//! Every query here uses the index of what has not ended, so that its cost does not grow with
//! history; a test compares the query plans.

use crate::error::{DbResult, ensure_rows};
use crate::rows::{Record, all, first, write};
use rusqlite::{Connection, Row, params};
use tollgate_core::ids::{EventId, FunctionId, InvocationId, SiteId, TaskId, UserId, VersionId};
use tollgate_core::invocation::{NewInvocation, Trigger, Waiter};
use tollgate_core::ports::store::{Claimed, Recovered};
use tollgate_core::time::Timestamp;

/// What a run whose caller went away with the server ends with.
const CALLER_GONE: &str = "The server stopped while this ran";

pub(crate) const DUE: &str = "
    SELECT id, site_id, task_id, function_id, version_id, version, event, event_id, trigger, waiter,
        user_id, chain_depth, params, max_attempts, timeout_us, queued_at, replay_of, attempt
    FROM invocations
    WHERE state IN ('pending', 'running', 'retrying') AND state IN ('pending', 'retrying')
        AND holder IS NULL AND COALESCE(due_at, queued_at) <= ?1
    ORDER BY COALESCE(due_at, queued_at), id LIMIT ?2";
const TAKE: &str = "
    UPDATE invocations SET holder = ?2, state = 'running', attempt = attempt + 1, started_at = ?3,
        due_at = NULL, updated_at = ?3
    WHERE id = ?1 AND holder IS NULL AND state IN ('pending', 'retrying')";
pub(crate) const NEXT_DUE: &str = "
    SELECT COALESCE(due_at, queued_at) FROM invocations
    WHERE state IN ('pending', 'running', 'retrying') AND holder IS NULL
    ORDER BY COALESCE(due_at, queued_at) LIMIT 1";
/// `holder <> ?1` alone would not use the index.
pub(crate) const CANCEL: &str = "
    UPDATE invocations SET state = 'cancelled', holder = NULL, due_at = NULL, finished_at = ?2,
        updated_at = ?2, failure_kind = 'cancelled', failure_message = ?3
    WHERE state IN ('pending', 'running', 'retrying') AND (holder < ?1 OR holder > ?1)
        AND waiter = 'caller'";
/// A held run that is still pending has not begun, so its attempt is given back.
pub(crate) const REQUEUE: &str = "
    UPDATE invocations SET attempt = MAX(attempt - (state = 'pending'), 0), state = 'pending',
        holder = NULL, updated_at = ?2
    WHERE state IN ('pending', 'running', 'retrying') AND (holder < ?1 OR holder > ?1)
        AND waiter = 'nobody'";

fn read(row: &Row<'_>, holder: &str) -> DbResult<Claimed> {
    let mut row = Record::new("invocations", row);
    let invocation = NewInvocation {
        id: InvocationId(row.get("id")?),
        site_id: SiteId(row.get("site_id")?),
        task_id: TaskId(row.uuid("task_id")?),
        function_id: FunctionId(row.get("function_id")?),
        version_id: VersionId(row.get("version_id")?),
        version: row.u32("version")?,
        event: row.word_opt("event", |text| text.parse().ok())?,
        event_id: row.uuid_opt("event_id")?.map(EventId),
        trigger: row.word("trigger", Trigger::from_text)?,
        waiter: row.word("waiter", Waiter::from_text)?,
        user_id: row.get::<Option<i64>>("user_id")?.map(UserId),
        chain_depth: row.u32("chain_depth")?,
        params: row.json_text("params")?,
        max_attempts: row.u32("max_attempts")?,
        timeout: row.span("timeout_us")?,
        queued_at: row.time("queued_at")?,
        replay_of: row.get::<Option<i64>>("replay_of")?.map(InvocationId),
        holder: Some(holder.to_owned()),
    };
    Ok(Claimed {
        invocation,
        attempt: row.u32("attempt")?.saturating_add(1),
    })
}

/// Takes what is due and held by no one, oldest first.
pub(crate) fn claim(
    connection: &Connection,
    holder: &str,
    limit: usize,
    now: Timestamp,
) -> DbResult<(Vec<Claimed>, Option<Timestamp>)> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![now.as_micros(), limit];
    let claimed = all(connection, DUE, values, |row| read(row, holder))?;
    for run in &claimed {
        let values = params![run.invocation.id.0, holder, now.as_micros()];
        ensure_rows("claim", write(connection, TAKE, values)?, 1)?;
    }
    let next = first(connection, NEXT_DUE, [], |row| Ok(row.get(0)?))?;
    Ok((claimed, next.map(Timestamp::from_micros)))
}

/// Puts what other holders held in order.
pub(crate) fn recover(
    connection: &Connection,
    holder: &str,
    now: Timestamp,
) -> DbResult<Recovered> {
    let at = now.as_micros();
    let cancelled = write(connection, CANCEL, params![holder, at, CALLER_GONE])?;
    let requeued = write(connection, REQUEUE, params![holder, at])?;
    Ok(Recovered {
        requeued: requeued as u64,
        cancelled: cancelled as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;

    /// Whatever the history, only the index of open records is searched.
    #[test]
    fn the_queue_never_scans_history() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, Timestamp::from_micros(0)).unwrap();
        for sql in [DUE, NEXT_DUE, CANCEL, REQUEUE] {
            let mut statement = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            // Unbound parameters are NULL, which changes no plan.
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            let plan = plan.join("; ");
            assert!(plan.contains("invocations_open"), "{plan}: {sql}");
            let scans = plan.contains("SCAN") && !plan.contains("USING INDEX invocations_open");
            assert!(!scans, "{plan}: {sql}");
        }
    }
}
