//! Dead letters: found by the index of what ended badly, written by their numbers.
//!
//! Looking for them is the readers' work, so that the writer's time goes to the rows that change.

use crate::attempts;
use crate::error::DbResult;
use crate::invocations::filter;
use crate::listing::Filter;
use crate::open::Scoped;
use crate::rows::{Record, all, micros, write};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params, params_from_iter};
use tollgate_core::events::EventType;
use tollgate_core::ids::{FunctionId, InvocationId};
use tollgate_core::ports::store::{
    DeadLetter, DeadLetterPlace, DeadLetterStore, InvocationQuery, OnCommit, Redrive, StoreError,
};
use tollgate_core::tasks::State;
use tollgate_core::time::Timestamp;

const FIND: &str = "SELECT i.id, i.queued_at, i.function_id, i.event FROM invocations i";
/// The failure and the logs of the last attempt stay until the next one ends. Without a version to move
/// to, the run keeps its own.
const REDRIVE: &str = "
    UPDATE invocations SET state = 'pending', earlier = MAX(MIN(earlier + attempt, 4294967295), 0), attempt = 0, uncounted = 0,
        redrives = MIN(redrives, 4294967294) + 1, redriven_at = ?3, holder = NULL, due_at = ?3, finished_at = NULL,
        updated_at = ?3, version_id = COALESCE(?4, version_id), version = COALESCE(?5, version),
        timeout_us = COALESCE(?6, timeout_us), max_attempts = COALESCE(?7, max_attempts),
        pinned = ?4 IS NULL, asker_id = ?8, acting_function_id = ?9, acting_from = chain_depth
    WHERE id = ?1 AND site_id = ?2 AND state = 'dead'";
const DISCARD: &str = "
    UPDATE invocations SET state = 'failed', updated_at = ?3
    WHERE id = ?1 AND site_id = ?2 AND state = 'dead'";

fn read(row: &Row<'_>) -> DbResult<DeadLetter> {
    let mut row = Record::new("invocations", row);
    Ok(DeadLetter {
        id: InvocationId(row.get("id")?),
        queued_at: row.time("queued_at")?,
        function_id: FunctionId(row.get("function_id")?),
        event: row.shown(None, |row| {
            row.word_opt("event", |text| EventType::stored(text).ok())
        })?,
    })
}

/// What finds them.
fn finding(
    site: i64,
    query: &InvocationQuery,
    after: Option<DeadLetterPlace>,
    limit: usize,
) -> DbResult<(String, Filter)> {
    let mut filter = filter(site, query)?;
    if let Some(DeadLetterPlace { queued_at, id }) = after {
        let (queued_at, id) = (filter.bind(queued_at.as_micros()), filter.bind(id.0));
        filter.that(&format!("(i.queued_at, i.id) > ({queued_at}, {id})"));
    }
    let limit = filter.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let conditions = filter.sql();
    let sql = format!("{FIND}{conditions} ORDER BY i.queued_at, i.id LIMIT {limit}");
    Ok((sql, filter))
}

fn find(
    connection: &Connection,
    site: i64,
    query: &InvocationQuery,
    after: Option<DeadLetterPlace>,
    limit: usize,
) -> DbResult<Vec<DeadLetter>> {
    let (sql, filter) = finding(site, query, after, limit)?;
    all(connection, &sql, params_from_iter(filter.values()), read)
}

fn redrive(
    connection: &Connection,
    site: i64,
    redrives: &[Redrive],
    at: Timestamp,
) -> DbResult<Vec<bool>> {
    let mut flags = Vec::with_capacity(redrives.len());
    for redrive in redrives {
        let version = redrive.version;
        attempts::keep_dead(connection, site, redrive.id, at)?;
        let rows = write(
            connection,
            REDRIVE,
            params![
                redrive.id.0,
                site,
                at.as_micros(),
                version.map(|to| to.version_id.0),
                version.map(|to| to.version),
                version.map(|to| micros(to.timeout)),
                version.map(|to| to.max_attempts),
                redrive.asker.0,
                redrive.acting_function.map(|function| function.0),
            ],
        )?;
        flags.push(rows == 1);
    }
    Ok(flags)
}

#[async_trait]
impl DeadLetterStore for Scoped {
    async fn dead_letters(
        &self,
        query: InvocationQuery,
        after: Option<DeadLetterPlace>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let site = self.site();
        let query = InvocationQuery {
            states: vec![State::Dead],
            ..query
        };
        self.inner
            .readers
            .list(move |connection| find(connection, site, &query, after, limit))
            .await
    }

    async fn redrive(
        &self,
        redrives: Vec<Redrive>,
        on_commit: OnCommit,
    ) -> Result<Vec<bool>, StoreError> {
        let (site, at) = (self.site(), self.inner.now());
        self.inner
            .writer
            .write_then(Some(on_commit), move |connection| {
                redrive(connection, site, &redrives, at)
            })
            .await
    }

    async fn discard(&self, id: InvocationId, at: Timestamp) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                let rows = write(connection, DISCARD, params![id.0, site, at.as_micros()])?;
                Ok(rows == 1)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocations::NEWEST_FIRST;
    use crate::migrations;
    use crate::rows::plan;
    use tollgate_core::ids::AppId;
    use tollgate_core::ports::store::Visibility;
    use tollgate_core::tasks::FailureKind;
    use tollgate_core::users::events::POST_USER_CREATE;

    /// However much history there is, only what ended badly is searched, in the order of time.
    #[test]
    fn finding_never_scans_history_and_never_sorts() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, Timestamp::from_micros(0)).unwrap();
        let everything = InvocationQuery {
            states: vec![State::Dead],
            function_slug: Some("f".to_owned()),
            event: Some(POST_USER_CREATE),
            kind: Some(FailureKind::Exception),
            app_slug: Some("a".to_owned()),
            visible_to: Some(Visibility {
                user: None,
                own_in: None,
                apps: vec![AppId(1)],
            }),
            ..InvocationQuery::default()
        };
        let nothing = InvocationQuery {
            states: vec![State::Dead],
            ..InvocationQuery::default()
        };
        for query in [everything, nothing] {
            let after = DeadLetterPlace {
                queued_at: Timestamp::from_micros(7),
                id: InvocationId(7),
            };
            let (oldest_first, _) = finding(1, &query, Some(after), 9).unwrap();
            let filter = filter(1, &query).unwrap();
            let newest_first = format!("{FIND}{} {NEWEST_FIRST}", filter.sql());
            for sql in [oldest_first, newest_first] {
                let plan = plan(&connection, &sql);
                let by_index = "SEARCH i USING INDEX invocations_unwell (site_id=? AND state=?";
                assert!(plan.contains(by_index), "{plan}: {sql}");
                assert!(!plan.contains("TEMP B-TREE"), "{plan}: {sql}");
            }
        }
    }
}
