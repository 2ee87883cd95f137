//! Deleting what is over: old history and ended tokens, a few rows at a time.
//!
//! History is walked by its primary key from the oldest number, so no index is kept for it and
//! writing records costs nothing more. Readers look; the writer only deletes what they found.
//!
//! The newest record must stay: numbers go on after the largest one on disk, see [`crate::ids`].

use crate::error::DbResult;
use crate::rows::{Record, write};
use rusqlite::{Connection, params};
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::retention::Retention;
use tollgate_core::limits;
use tollgate_core::tasks::State;
use tollgate_core::time::Timestamp;

/// Only columns before the large ones, so that no overflow page is read.
pub(crate) const LOOK: &str = "
    SELECT id, state, queued_at, updated_at FROM invocations WHERE id > ?1 ORDER BY id LIMIT ?2";
/// The state is the one that was found: what was redriven or changed meanwhile stays.
pub(crate) const DELETE: &str = "
    DELETE FROM invocations
    WHERE id = ?1 AND state = ?2 AND updated_at = ?3 AND id < (SELECT MAX(id) FROM invocations)";
pub(crate) const DELETE_TOKENS: &str = "
    DELETE FROM tokens WHERE hash IN (
        SELECT hash FROM tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";

pub(crate) const DELETE_FAMILIES: &str = "
    DELETE FROM ended_families WHERE (user_id, family) IN (
        SELECT user_id, family FROM ended_families WHERE forget_at < ?1
        ORDER BY forget_at LIMIT ?2)";

/// A record whose time is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    id: i64,
    state: State,
    updated_at: Timestamp,
}

/// What one look found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) over: Vec<Over>,
    /// Where the next look begins; none at the end.
    pub(crate) next: Option<InvocationId>,
}

/// Finds up to `limit` records after `after` whose retention is over.
pub(crate) fn look(
    connection: &Connection,
    after: Option<InvocationId>,
    limit: usize,
    retention: &Retention,
    now: Timestamp,
) -> DbResult<Look> {
    let mut look = Look::default();
    let Some(shortest) = retention.shortest() else {
        return Ok(look);
    };
    let after = after.map_or(i64::MIN, |id| id.0);
    let scan = i64::try_from(limits::RETENTION_SCAN).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(LOOK)?;
    let mut rows = statement.query(params![after, scan])?;
    let (mut seen, mut some_old) = (0, false);
    while let Some(row) = rows.next()? {
        let mut row = Record::new("invocations", row);
        let id: i64 = row.get("id")?;
        // What cannot be read is kept, and holds nothing up.
        let state = row.shown(State::Dead, |row| row.word("state", State::from_text))?;
        some_old |= row.time("queued_at")?.plus(shortest) <= now;
        let updated_at = row.time("updated_at")?;
        seen += 1;
        if retention.is_over(state, updated_at, now) {
            look.over.push(Over {
                id,
                state,
                updated_at,
            });
        }
        if look.over.len() == limit {
            look.next = Some(InvocationId(id));
            return Ok(look);
        }
        // Numbers rise with time, but for those of one block, so where all are young what follows is young too,
        // or will go a little later. One alone says nothing: it may have been written while the clock was wrong.
        if seen == limits::RETENTION_SCAN && some_old {
            look.next = Some(InvocationId(id));
        }
    }
    Ok(look)
}

/// Deletes what was found, unless it has changed since.
pub(crate) fn delete(connection: &Connection, over: &[Over]) -> DbResult<u64> {
    let mut deleted = 0;
    for record in over {
        let values = params![
            record.id,
            record.state.as_str(),
            record.updated_at.as_micros()
        ];
        deleted += write(connection, DELETE, values)? as u64;
    }
    Ok(deleted)
}

/// Deletes up to `limit` tokens that ended before `now`, and as many ended sign-ins.
pub(crate) fn delete_tokens(
    connection: &Connection,
    limit: usize,
    now: Timestamp,
) -> DbResult<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let now = now.as_micros();
    let families = write(connection, DELETE_FAMILIES, params![now, limit])?;
    let tokens = write(connection, DELETE_TOKENS, params![now, limit])?;
    Ok((families + tokens) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;

    /// No pass sorts or scans a table; the tokens go by their own index.
    #[test]
    fn a_pass_walks_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, Timestamp::from_micros(0)).unwrap();
        for (sql, by) in [
            (LOOK, "USING INTEGER PRIMARY KEY (rowid>?)"),
            (DELETE, "USING INTEGER PRIMARY KEY (rowid=?)"),
            (DELETE_TOKENS, "USING COVERING INDEX tokens_by_end"),
        ] {
            let mut statement = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            let plan = plan.join("; ");
            assert!(plan.contains(by), "{plan}: {sql}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}: {sql}");
        }
    }
}
