//! Attempts that another one followed, or may follow. The newest stands in its run's own row.
//!
//! Must never cost a run anything that ends at its first attempt.

use crate::error::DbResult;
use crate::rows::{Record, all, json, write};
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{AttemptRecord, Completion, LogLine, UNKNOWN};
use tollgate_core::limits;
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::time::Timestamp;

/// Numbers of damaged rows must not overflow: what is no integer is refused by the table.
macro_rules! insert {
    () => {
        "INSERT OR IGNORE INTO attempts (invocation_id, fence, number, version, counts, redriven, \
         started_at, finished_at, worker, failure_kind, failure_message, log_count, \
         failure_traceback, logs) SELECT id, fence, MAX(MIN(earlier + attempt, 4294967295), 0), version, "
    };
}

/// Keeps attempts as lost at ?2 for the reason ?3; which ones they are follows.
macro_rules! keep_lost {
    () => {
        concat!(
            "INSERT OR IGNORE INTO attempts (invocation_id, fence, number, version, counts, redriven, \
             started_at, finished_at, worker, failure_kind, failure_message, log_count, \
             failure_traceback, logs) SELECT id, fence, MAX(MIN(earlier + attempt, 4294967295), 0), version, 0, \
             attempt = 1 AND redrives > 0, started_at, ?2, NULL, 'lost', ?3, 0, NULL, NULL \
             FROM invocations WHERE "
        )
    };
}
pub(crate) use keep_lost;

/// What a run's row says of the end that was just written into it.
const KEEP: &str = concat!(
    insert!(),
    "?2, attempt = 1 AND redrives > 0, started_at, ?3, worker, \
     failure_kind, failure_message, log_count, failure_traceback, logs FROM invocations WHERE id = ?1"
);
/// The same of a dead letter that is about to be redriven.
const KEEP_DEAD: &str = concat!(
    insert!(),
    "COALESCE(failure_kind NOT IN ('unavailable', 'lost'), 1), attempt = 1 AND redrives > 0, \
     started_at, COALESCE(finished_at, updated_at), worker, failure_kind, failure_message, log_count, \
     failure_traceback, logs FROM invocations \
     WHERE id = ?1 AND site_id = ?2 AND state = 'dead' AND attempt > 0"
);
/// All but the newest ?2.
const FORGET: &str = "
    DELETE FROM attempts WHERE id IN (
        SELECT id FROM attempts WHERE invocation_id = ?1 ORDER BY fence DESC LIMIT -1 OFFSET ?2)";
/// The newest keep their logs, up to ?2 bytes in all.
const FORGET_LOGS: &str = "
    UPDATE attempts SET logs = ?3 WHERE octet_length(logs) > octet_length(?3) AND id IN (
        SELECT id FROM (
            SELECT id, SUM(octet_length(logs)) OVER (ORDER BY fence DESC) AS bytes
            FROM attempts WHERE invocation_id = ?1 ORDER BY fence DESC LIMIT -1 OFFSET 1)
        WHERE bytes > ?2)";
macro_rules! select {
    ($traceback:literal, $logs:literal, $which:literal) => {
        concat!(
            "SELECT id, invocation_id, number, version, counts, redriven, started_at, finished_at, ",
            "worker, failure_kind, failure_message, ",
            $traceback,
            " AS failure_traceback, ",
            $logs,
            " AS logs, log_count FROM attempts WHERE invocation_id ",
            $which,
            " ORDER BY invocation_id, fence"
        )
    };
}
const OF_ONE: &str = select!("failure_traceback", "logs", "= ?1");
/// For lists, as small as their records: see [`tollgate_core::limits::LIST_FIELD_BYTES`].
const OF_MANY: &str = select!(
    "iif(octet_length(failure_traceback) > 16384, NULL, failure_traceback)",
    "NULL",
    "IN (SELECT value FROM json_each(?1))"
);

/// Keeps an end, which was just written and after which another attempt may follow.
pub(crate) fn keep(connection: &Connection, end: &Completion) -> DbResult<()> {
    write(
        connection,
        KEEP,
        params![end.id.0, !end.uncounted, end.finished_at.as_micros()],
    )?;
    bound(connection, end.id, end.finished_at)
}

/// Keeps the last attempt of a dead letter, before its row changes.
pub(crate) fn keep_dead(
    connection: &Connection,
    site: i64,
    id: InvocationId,
    at: Timestamp,
) -> DbResult<()> {
    write(connection, KEEP_DEAD, params![id.0, site])?;
    bound(connection, id, at)
}

/// What is kept of one run has an end.
fn bound(connection: &Connection, id: InvocationId, at: Timestamp) -> DbResult<()> {
    write(connection, FORGET, params![id.0, limits::ATTEMPTS_KEPT])?;
    let bytes = i64::try_from(limits::ATTEMPTS_LOG_BYTES).unwrap_or(i64::MAX);
    let note = json(&[LogLine {
        timestamp: at,
        level: "WARNING".to_owned(),
        logger: "tollgate".to_owned(),
        message: format!(
            "The logs of this attempt were deleted: those of a run's earlier attempts are kept up to {} \
             MiB together",
            limits::ATTEMPTS_LOG_BYTES >> 20
        ),
    }])?;
    write(connection, FORGET_LOGS, params![id.0, bytes, note])?;
    Ok(())
}

/// The kept attempts of one run, oldest first, with their logs.
pub(crate) fn of_one(connection: &Connection, id: InvocationId) -> DbResult<Vec<AttemptRecord>> {
    all(connection, OF_ONE, params![id.0], |row| Ok(read(row)?.1))
}

/// Those of many runs, without their logs.
pub(crate) fn of_many(
    connection: &Connection,
    ids: &[i64],
) -> DbResult<HashMap<i64, Vec<AttemptRecord>>> {
    let mut found: HashMap<i64, Vec<AttemptRecord>> = HashMap::new();
    for (run, attempt) in all(connection, OF_MANY, params![json(ids)?], read)? {
        found.entry(run).or_default().push(attempt);
    }
    Ok(found)
}

/// The attempt and whose it is. What cannot be read has a placeholder.
fn read(row: &Row<'_>) -> DbResult<(i64, AttemptRecord)> {
    let mut row = Record::new("attempts", row);
    row.get::<i64>("id")?;
    let run = row.get("invocation_id")?;
    let attempt = AttemptRecord {
        number: row.shown(0, |row| row.u32("number"))?,
        version: row.shown(0, |row| row.u32("version"))?,
        counts: row.get("counts")?,
        redriven: row.get("redriven")?,
        started_at: row.time_opt("started_at")?,
        finished_at: row.time_opt("finished_at")?,
        worker: row.shown(None, |row| row.get("worker"))?,
        failure: read_failure(&mut row)?,
        logs: read_logs(&mut row)?,
        log_count: row.shown(0, |row| row.u32("log_count"))?,
    };
    Ok((run, attempt))
}

fn read_failure(row: &mut Record<'_, '_>) -> DbResult<Option<Failure>> {
    let unknown = Some(FailureKind::Corrupt);
    let kind = row.shown(unknown, |row| {
        row.word_opt("failure_kind", FailureKind::from_text)
    })?;
    let message = row.shown(None, |row| row.get::<Option<String>>("failure_message"))?;
    let traceback = row.shown(None, |row| row.get("failure_traceback"))?;
    Ok(kind.map(|kind| Failure {
        kind,
        message: message.unwrap_or_default(),
        traceback,
        retry_after: None,
    }))
}

/// A line as it may stand in a damaged column, or in one that an earlier release wrote.
#[derive(Deserialize)]
struct Loose {
    timestamp: Option<Value>,
    level: Option<Value>,
    logger: Option<Value>,
    message: Option<Value>,
}

/// Log lines. One that is damaged takes nothing but itself along.
pub(crate) fn read_logs(row: &mut Record<'_, '_>) -> DbResult<Vec<LogLine>> {
    let lines = row.shown(None, |row| {
        row.word_opt("logs", |text| {
            let whole = serde_json::from_str(text);
            whole.or_else(|_| loose(text)).ok()
        })
    })?;
    Ok(lines.unwrap_or_default())
}

fn loose(text: &str) -> serde_json::Result<Vec<LogLine>> {
    let lines: Vec<Loose> = serde_json::from_str(text)?;
    let word = |value: Option<Value>| match value {
        Some(Value::String(text)) => text,
        _ => UNKNOWN.to_owned(),
    };
    let line = |loose: Loose| LogLine {
        timestamp: word(loose.timestamp)
            .parse()
            .unwrap_or(Timestamp::from_micros(0)),
        level: LogLine::level(&word(loose.level)).to_owned(),
        logger: LogLine::logger(&word(loose.logger)).to_owned(),
        message: word(loose.message),
    };
    Ok(lines.into_iter().map(line).collect())
}
