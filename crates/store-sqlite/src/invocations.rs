//! Invocation records of one site: writing them, and reading them with the names they show.

use crate::error::DbResult;
use crate::listing::{Filter, bounds};
use crate::open::Scoped;
use crate::queue::{End, complete};
use crate::rows::{Record, all, count, first, json};
use crate::{attempts, idempotency};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params, params_from_iter};
use std::collections::HashMap;
use tollgate_core::events::EventType;
use tollgate_core::idempotency::Remember;
use tollgate_core::ids::{AppId, EventId, FunctionId, InvocationId, TaskId, UserId, VersionId};
use tollgate_core::invocations::{
    Completion, Invocation, OnBehalf, RecordedVerdict, Trigger, UNKNOWN, VerdictKind,
};
use tollgate_core::json::JsonText;
use tollgate_core::ports::store::{
    Conflict, InvocationQuery, InvocationStore, OnCommit, Page, PageRequest, StoreError,
    Visibility, Work,
};
use tollgate_core::tasks::{Failure, FailureKind, State};
use uuid::Uuid;

/// What may be large is a parameter, so that lists can leave it where it is.
macro_rules! select {
    ($params:literal, $result:literal, $traceback:literal, $logs:literal, $rest:literal) => {
        concat!(
            "SELECT i.id, i.fence, i.task_id, i.function_id, f.app_id, f.name AS function_name, ",
            "f.slug AS function_slug, i.version_id, i.version, i.event, i.event_id, i.trigger, i.state, ",
            "i.attempt, i.earlier, i.uncounted, i.holder, i.max_attempts, i.user_id, ",
            "u.username, u.email, ",
            $params,
            " AS params, i.request, ",
            $result,
            " AS result, i.failure_kind, i.failure_message, ",
            $traceback,
            " AS failure_traceback, i.failure_retry_after_us, i.verdict, i.verdict_message, i.changes, ",
            $logs,
            " AS logs, i.log_count, i.worker, i.queued_at, i.started_at, i.finished_at, i.due_at, ",
            "i.updated_at, i.replay_of, i.redrives, i.redriven_at, i.chain, i.asker_id, ",
            "i.acting_function_id, i.acting_from, b.username AS asker_username, ",
            "h.slug AS acting_function_slug FROM invocations i ",
            "LEFT JOIN functions f ON f.id = i.function_id AND f.site_id = i.site_id ",
            "LEFT JOIN users u ON u.id = i.user_id AND u.site_id = i.site_id ",
            "LEFT JOIN users b ON b.id = i.asker_id AND b.site_id = i.site_id ",
            "LEFT JOIN functions h ON h.id = i.acting_function_id AND h.site_id = i.site_id",
            $rest
        )
    };
    (whole $rest:literal) => {
        select!(
            "i.params",
            "i.result",
            "i.failure_traceback",
            "i.logs",
            $rest
        )
    };
}

const BY_ID: &str = select!(whole " WHERE i.site_id = ?1 AND i.id = ?2");
const BY_TASK: &str = select!(whole " WHERE i.site_id = ?1 AND i.task_id = ?2");
/// A page of a hundred records must stay small: what is larger than
/// [`tollgate_core::limits::LIST_FIELD_BYTES`] shows in the record itself.
const LIST: &str = select!(
    "iif(octet_length(i.params) > 16384, '{\"truncated\":true}', i.params)",
    "iif(octet_length(i.result) > 16384, '{\"truncated\":true}', i.result)",
    "iif(octet_length(i.failure_traceback) > 16384, NULL, i.failure_traceback)",
    "NULL",
    ""
);
const _: () = assert!(tollgate_core::limits::LIST_FIELD_BYTES == 16_384);
const COUNT: &str = "SELECT COUNT(*) FROM invocations i";
/// A larger number may be an older one's.
pub(crate) const NEWEST_FIRST: &str = "ORDER BY i.queued_at DESC, i.id DESC";

fn read_failure(row: &mut Record<'_, '_>) -> DbResult<Option<Failure>> {
    let unknown = Some(FailureKind::Corrupt);
    let kind = row.shown(unknown, |row| {
        row.word_opt("failure_kind", FailureKind::from_text)
    })?;
    let message = row.shown(None, |row| row.get::<Option<String>>("failure_message"))?;
    let traceback = row.shown(None, |row| row.get("failure_traceback"))?;
    let retry_after = row.shown(None, |row| row.span_opt("failure_retry_after_us"))?;
    Ok(kind.map(|kind| Failure {
        kind,
        message: message.unwrap_or_default(),
        traceback,
        retry_after,
    }))
}

/// In whose name a run acts.
pub(crate) fn read_behalf(row: &mut Record<'_, '_>) -> DbResult<OnBehalf> {
    Ok(OnBehalf {
        asker: row.get::<Option<i64>>("asker_id")?.map(UserId),
        function: row
            .get::<Option<i64>>("acting_function_id")?
            .map(FunctionId),
        from: row.get::<Option<u32>>("acting_from")?.unwrap_or_default(),
    })
}

/// The same as it can be shown.
fn show_behalf(row: &mut Record<'_, '_>) -> DbResult<OnBehalf> {
    let asker = row.shown(None, |row| row.get("asker_id"))?;
    let function = row.shown(None, |row| row.get("acting_function_id"))?;
    let from = row.shown(None, |row| row.get::<Option<u32>>("acting_from"))?;
    Ok(OnBehalf {
        asker: asker.map(UserId),
        function: function.map(FunctionId),
        from: from.unwrap_or_default(),
    })
}

fn read_verdict(row: &mut Record<'_, '_>) -> DbResult<Option<RecordedVerdict>> {
    let kind = row.shown(None, |row| row.word_opt("verdict", VerdictKind::from_text))?;
    let message = row.shown(None, |row| row.get("verdict_message"))?;
    Ok(kind.map(|kind| RecordedVerdict { kind, message }))
}

/// A record as its row shows it, and whether it can have earlier attempts: it was taken once and waits to
/// be taken again, or was taken again. What cannot be read has a placeholder, and is named.
fn read(row: &Row<'_>) -> DbResult<(Invocation, bool)> {
    let mut row = Record::new("invocations", row);
    let unknown = || UNKNOWN.to_owned();
    let (id, fence): (i64, i64) = (row.get("id")?, row.get("fence")?);
    let task_id = row.shown(Uuid::nil(), |row| row.uuid("task_id"))?;
    let function_id = FunctionId(row.get("function_id")?);
    let app_id = AppId(row.get::<Option<i64>>("app_id")?.unwrap_or_default());
    let function_name = row.shown(None, |row| row.get::<Option<_>>("function_name"))?;
    let function_slug = row.shown(None, |row| row.get::<Option<_>>("function_slug"))?;
    let mut record = Invocation {
        id: InvocationId(id),
        task_id: TaskId(task_id),
        function_id,
        app_id,
        function_name: function_name.unwrap_or_else(unknown),
        function_slug: function_slug.unwrap_or_else(unknown),
        version_id: VersionId(row.get("version_id")?),
        version: row.shown(0, |row| row.u32("version"))?,
        event: row.shown(None, |row| {
            row.word_opt("event", |text| EventType::stored(text).ok())
        })?,
        event_id: row
            .shown(None, |row| row.uuid_opt("event_id"))?
            .map(EventId),
        trigger: row.shown(Trigger::Unknown, |row| {
            row.word("trigger", Trigger::from_text)
        })?,
        state: row.shown(State::Failed, |row| row.word("state", State::from_text))?,
        attempt: row.shown(0, |row| row.u32("attempt"))?,
        attempts_before: row.shown(0, |row| row.u32("earlier"))?,
        uncounted: row.shown(0, |row| row.u32("uncounted"))?,
        earlier: Vec::new(),
        holder: row.shown(None, |row| row.get("holder"))?,
        max_attempts: row.shown(0, |row| row.u32("max_attempts"))?,
        user_id: row.get::<Option<i64>>("user_id")?.map(UserId),
        user_username: row.shown(None, |row| row.get("username"))?,
        user_email: row.shown(None, |row| row.get("email"))?,
        params: row.shown(JsonText::null(), |row| row.json_text("params"))?,
        request: row.shown(None, |row| row.json_text_opt("request"))?,
        result: row.shown(None, |row| row.json_text_opt("result"))?,
        failure: read_failure(&mut row)?,
        verdict: read_verdict(&mut row)?,
        changes: row.shown(None, |row| row.json_text_opt("changes"))?,
        logs: attempts::read_logs(&mut row)?,
        log_count: row.shown(0, |row| row.u32("log_count"))?,
        worker: row.shown(None, |row| row.get("worker"))?,
        queued_at: row.time("queued_at")?,
        started_at: row.time_opt("started_at")?,
        finished_at: row.time_opt("finished_at")?,
        due_at: row.time_opt("due_at")?,
        updated_at: row.time("updated_at")?,
        replay_of: row.get::<Option<i64>>("replay_of")?.map(InvocationId),
        redrives: row.shown(0, |row| row.u32("redrives"))?,
        redriven_at: row.time_opt("redriven_at")?,
        chain: row
            .shown(None, |row| row.json_opt("chain"))?
            .unwrap_or_default(),
        behalf: show_behalf(&mut row)?,
        asker_username: row.shown(None, |row| row.get("asker_username"))?,
        acting_function_slug: row.shown(None, |row| row.get("acting_function_slug"))?,
        damaged: Vec::new(),
    };
    name_damaged(&mut record, row.damaged());
    let waits_again = !record.state.is_final() && record.holder.is_none();
    let retaken = fence > 1 || (fence == 1 && waits_again);
    Ok((record, retaken))
}

/// Says what of a record could not be read, as its failure where it has none of its own.
fn name_damaged(record: &mut Invocation, damaged: Vec<&'static str>) {
    if !damaged.is_empty() && record.failure.is_none() {
        let message = format!(
            "Stored values of this record cannot be read, and placeholders stand for them: {}",
            damaged.join(", ")
        );
        record.failure = Some(Failure::new(FailureKind::Corrupt, message));
    }
    record.damaged = damaged;
}

/// One record with all its attempts.
fn one(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> DbResult<Option<Invocation>> {
    let Some((mut record, retaken)) = first(connection, sql, values, read)? else {
        return Ok(None);
    };
    if retaken {
        record.earlier = attempts::of_one(connection, record.id)?;
    }
    Ok(Some(record))
}

/// Leaves what a caller may see.
fn only_visible(filter: &mut Filter, visible: &Visibility) -> DbResult<()> {
    let apps: Vec<i64> = visible.apps.iter().map(|app| app.0).collect();
    let apps = filter.bind(json(&apps)?);
    let of_apps = format!(
        "i.function_id IN (SELECT id FROM functions \
         WHERE site_id = ?1 AND app_id IN (SELECT value FROM json_each({apps})))"
    );
    match visible.user {
        Some(user) => {
            let user = filter.bind(user.0);
            let own = match visible.own_in {
                None => String::new(),
                Some(app) => {
                    let app = filter.bind(app.0);
                    format!(
                        " AND i.function_id IN (SELECT id FROM functions \
                         WHERE site_id = ?1 AND app_id = {app})"
                    )
                }
            };
            filter.that(&format!(
                "((i.user_id = {user} OR i.asker_id = {user}){own} OR {of_apps})"
            ));
        }
        None => filter.that(&of_apps),
    }
    Ok(())
}

/// States that end badly have an index of their own; its condition must be repeated word by word.
pub(crate) fn filter(site: i64, query: &InvocationQuery) -> DbResult<Filter> {
    let mut filter = Filter::default();
    filter.with("i.site_id = ?N", site);
    if let Some(slug) = &query.function_slug {
        filter.with(
            "i.function_id IN (SELECT id FROM functions WHERE site_id = ?1 AND slug = ?N)",
            slug.as_str(),
        );
    }
    if let Some(visible) = &query.visible_to {
        only_visible(&mut filter, visible)?;
    }
    if let Some(event) = query.event {
        filter.with("i.event = ?N", event.as_str());
    }
    if !query.states.is_empty() {
        let open = |state: &State| !state.is_final();
        if query.states.iter().all(open) {
            filter.that("i.state IN ('pending', 'running', 'retrying')");
        } else if !query
            .states
            .iter()
            .any(|state| open(state) || *state == State::Succeeded)
        {
            filter.that("i.state IN ('failed', 'timed_out', 'cancelled', 'dead')");
        }
        // One state alone keeps the index's order, so that its pages need no sorting.
        if let [state] = query.states.as_slice() {
            filter.with("i.state = ?N", state.as_str());
        } else {
            let words: Vec<&str> = query.states.iter().map(|state| state.as_str()).collect();
            filter.with(
                "i.state IN (SELECT value FROM json_each(?N))",
                json(&words)?,
            );
        }
    }
    if let Some(kind) = query.kind {
        filter.with("i.failure_kind = ?N", kind.as_str());
    }
    if let Some(slug) = &query.app_slug {
        filter.with(
            "i.function_id IN (SELECT f.id FROM functions f JOIN apps a ON a.id = f.app_id \
             AND a.site_id = f.site_id WHERE f.site_id = ?1 AND a.slug = ?N)",
            slug.as_str(),
        );
    }
    match query.has_error {
        Some(true) => filter.that("i.failure_kind IS NOT NULL"),
        Some(false) => filter.that("i.failure_kind IS NULL"),
        None => {}
    }
    Ok(filter)
}

/// What lists a page of what passes a filter.
fn listing(filter: &mut Filter, page: PageRequest) -> String {
    let conditions = filter.sql().to_owned();
    let (limit, offset) = bounds(page);
    let (limit, offset) = (filter.bind(limit), filter.bind(offset));
    format!("{LIST}{conditions} {NEWEST_FIRST} LIMIT {limit} OFFSET {offset}")
}

fn list(
    connection: &Connection,
    site: i64,
    query: &InvocationQuery,
    page: PageRequest,
) -> DbResult<Page<Invocation>> {
    let mut filter = filter(site, query)?;
    let sql = format!("{COUNT}{}", filter.sql());
    let total = count(connection, &sql, params_from_iter(filter.values()))?;
    let sql = listing(&mut filter, page);
    let found = all(connection, &sql, params_from_iter(filter.values()), read)?;
    let retaken = found.iter().filter(|(_, retaken)| *retaken);
    let retaken: Vec<i64> = retaken.map(|(record, _)| record.id.0).collect();
    let mut earlier = match retaken.is_empty() {
        true => HashMap::new(),
        false => attempts::of_many(connection, &retaken)?,
    };
    let items = found.into_iter().map(|(record, _)| Invocation {
        earlier: earlier.remove(&record.id.0).unwrap_or_default(),
        ..record
    });
    let items = items.collect();
    Ok(Page { items, total })
}

/// Stores the answer that shows a record as it stands in this transaction.
pub(crate) fn keep_record(
    connection: &Connection,
    site: i64,
    remember: &Remember<Invocation>,
    id: InvocationId,
) -> DbResult<()> {
    let record = one(connection, BY_ID, params![site, id.0])?.ok_or(Conflict::Gone)?;
    idempotency::keep(connection, site, Some(remember), &record)
}

#[async_trait]
impl InvocationStore for Scoped {
    async fn commit(&self, work: Work) -> Result<(), StoreError> {
        self.write_work(work).await
    }

    async fn complete(&self, completions: Vec<Completion>) -> Result<Vec<bool>, StoreError> {
        let (site, now) = (self.site(), self.inner.now());
        let ends = End::prepare(completions)?;
        self.inner
            .writer
            .write(move |connection| complete(connection, Some(site), &ends, now))
            .await
    }

    async fn complete_and_remember(
        &self,
        completion: Completion,
        remember: Remember<Invocation>,
    ) -> Result<bool, StoreError> {
        let (site, id, now) = (self.site(), completion.id, self.inner.now());
        let end = End::prepare(vec![completion])?;
        self.inner
            .writer
            .write(move |connection| {
                idempotency::check(connection, site, Some(&remember))?;
                let written = complete(connection, Some(site), &end, now)? == [true];
                if written {
                    keep_record(connection, site, &remember, id)?;
                }
                Ok(written)
            })
            .await
    }

    fn complete_later(&self, completions: Vec<Completion>, on_commit: OnCommit) {
        let (site, now) = (self.site(), self.inner.now());
        match End::prepare(completions) {
            Ok(ends) => self.inner.writer.write_later(
                "complete invocations",
                Some(on_commit),
                move |connection| complete(connection, Some(site), &ends, now).map(drop),
            ),
            Err(error) => {
                let error = StoreError::from(error);
                tracing::error!(%error, "completions are lost");
            }
        }
    }

    async fn invocation(&self, id: InvocationId) -> Result<Option<Invocation>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| one(connection, BY_ID, params![self.site(), id.0]))
    }

    async fn invocation_by_task(&self, id: TaskId) -> Result<Option<Invocation>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| one(connection, BY_TASK, params![self.site(), id.0.as_bytes()]))
    }

    async fn list_invocations(
        &self,
        query: InvocationQuery,
        page: PageRequest,
    ) -> Result<Page<Invocation>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| list(connection, site, &query, page))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;
    use crate::rows::plan;
    use tollgate_core::time::Timestamp;

    /// A page is read in its order, whatever the history and the filter.
    #[test]
    fn a_list_is_never_sorted() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, Timestamp::from_micros(0)).unwrap();
        let nothing = InvocationQuery::default;
        let of_function = InvocationQuery {
            function_slug: Some("f".to_owned()),
            ..nothing()
        };
        let of_state = InvocationQuery {
            states: vec![State::Failed],
            ..nothing()
        };
        for query in [nothing(), of_function, of_state] {
            let page = PageRequest {
                limit: 10,
                offset: 0,
            };
            let sql = listing(&mut filter(1, &query).unwrap(), page);
            let plan = plan(&connection, &sql);
            assert!(plan.contains("SEARCH i USING INDEX"), "{plan}: {sql}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}: {sql}");
        }
    }
}
