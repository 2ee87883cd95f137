//! Event types that apps declare. A deleted app's types went with it.

use crate::apps;
use crate::error::{DbError, DbResult};
use crate::idempotency;
use crate::listing::bounds;
use crate::open::Scoped;
use crate::rows::{Record, all, count, exists, first, write};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::events::EventType;
use tollgate_core::events::own::OwnType;
use tollgate_core::ids::AppId;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::store::{
    Conflict, EventTypeStore, NewOwnType, OwnTypeChange, Page, PageRequest, StoreError,
};
use tollgate_core::time::Timestamp;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.name, t.app_id, a.slug AS app_slug, t.description, t.params_schema, ",
            "t.sample, (SELECT COUNT(*) FROM subscribers b WHERE b.site_id = t.site_id ",
            "AND b.event = t.name) AS total_subscribers, t.created_at, t.updated_at ",
            "FROM event_types t JOIN apps a ON a.id = t.app_id AND a.site_id = t.site_id ",
            "WHERE t.site_id = ?1 ",
            $rest
        )
    };
}

const LIST: &str = select!("AND t.app_id = ?2 ORDER BY t.name LIMIT ?3 OFFSET ?4");
const ONE: &str = select!("AND t.name = ?2");
const COUNT: &str = "SELECT COUNT(*) FROM event_types WHERE site_id = ?1 AND app_id = ?2";
const NAMES: &str = "
    SELECT t.id, t.name FROM event_types t JOIN apps a ON a.id = t.app_id AND a.site_id = t.site_id
    WHERE t.site_id = ?1 ORDER BY a.slug, t.name";
const KEEP_NAME: &str = "
    INSERT INTO event_type_names (site_id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const COUNT_NAMES: &str = "SELECT COUNT(*) FROM event_type_names WHERE site_id = ?1";
const INSERT: &str = "
    INSERT INTO event_types
        (site_id, app_id, name, description, params_schema, sample, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT DO NOTHING";
const UPDATE: &str = "
    UPDATE event_types SET description = ?5, params_schema = ?6, sample = ?7, updated_at = ?8
    WHERE site_id = ?1 AND app_id = ?2 AND name = ?3 AND updated_at = ?4";
const DELETE: &str = "DELETE FROM event_types WHERE site_id = ?1 AND app_id = ?2 AND name = ?3";
const DECLARED: &str = "
    SELECT 1 FROM event_types WHERE site_id = ?1 AND app_id = ?2 AND name = ?3";
const DELETE_OF_APP: &str = "DELETE FROM event_types WHERE site_id = ?1 AND app_id = ?2";
const UNSUBSCRIBE_OF_APP: &str = "
    DELETE FROM subscribers WHERE site_id = ?1
    AND event IN (SELECT name FROM event_types WHERE site_id = ?1 AND app_id = ?2)";
const SUBSCRIBERS: &str = "SELECT COUNT(*) FROM subscribers WHERE site_id = ?1 AND event = ?2";
const COUNT_SUBSCRIBERS: &str = "
    SELECT MIN(b.id) AS id, b.event, COUNT(*) AS subscribers FROM subscribers b
    JOIN functions f ON f.id = b.function_id AND f.site_id = b.site_id
    WHERE b.site_id = ?1 AND (?2 IS NULL OR f.app_id = ?2) GROUP BY b.event";

/// What was accepted is kept by the process that reads it.
fn event(row: &mut Record<'_, '_>, column: &'static str) -> DbResult<EventType> {
    row.word(column, |text| EventType::stored(text).ok())
}

fn read(row: &Row<'_>) -> DbResult<OwnType> {
    let mut row = Record::new("event_types", row);
    row.get::<i64>("id")?;
    let nothing = JsonText::null();
    Ok(OwnType {
        event: event(&mut row, "name")?,
        app: AppId(row.get("app_id")?),
        app_slug: row.shown_name("app_slug")?,
        description: row.shown_text("description")?,
        params_schema: row.shown(nothing.clone(), |row| row.json_text("params_schema"))?,
        sample: row.shown(nothing, |row| row.json_text("sample"))?,
        total_subscribers: row.u32("total_subscribers")?.into(),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        damaged: row.damaged(),
    })
}

fn read_name(row: &Row<'_>) -> DbResult<EventType> {
    let mut row = Record::new("event_types", row);
    row.get::<i64>("id")?;
    event(&mut row, "name")
}

fn read_count(row: &Row<'_>) -> DbResult<(EventType, u64)> {
    let mut row = Record::new("subscribers", row);
    row.get::<i64>("id")?;
    Ok((event(&mut row, "event")?, row.u32("subscribers")?.into()))
}

fn one(connection: &Connection, site: i64, name: &str) -> DbResult<Option<OwnType>> {
    first(connection, ONE, params![site, name], read)
}

/// Refuses what belongs to a type that its app has not, or not any more.
pub(crate) fn expect(
    connection: &Connection,
    site: i64,
    app: AppId,
    event: EventType,
) -> DbResult<()> {
    if exists(connection, DECLARED, params![site, app.0, event.as_str()])? {
        Ok(())
    } else {
        Err(Conflict::NoEventType.into())
    }
}

/// An app takes its types along, and whoever is subscribed to them.
pub(crate) fn delete_of(connection: &Connection, site: i64, app: AppId) -> DbResult<()> {
    write(connection, UNSUBSCRIBE_OF_APP, params![site, app.0])?;
    write(connection, DELETE_OF_APP, params![site, app.0])?;
    Ok(())
}

fn is_full(count: u64, most: usize) -> bool {
    usize::try_from(count).unwrap_or(usize::MAX) > most
}

fn insert(connection: &Connection, site: i64, new: &NewOwnType) -> DbResult<OwnType> {
    idempotency::check(connection, site, new.remember.as_ref())?;
    apps::expect(connection, site, new.app)?;
    let values = params![
        site,
        new.app.0,
        new.name,
        new.description,
        new.params_schema.as_str(),
        new.sample.as_str(),
        new.created_at.as_micros(),
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::EventType.into());
    }
    let types = count(connection, COUNT, params![site, new.app.0])?;
    if is_full(types, limits::EVENT_TYPES_PER_APP) {
        return Err(Conflict::EventTypes.into());
    }
    write(connection, KEEP_NAME, params![site, new.name])?;
    let names = count(connection, COUNT_NAMES, [site])?;
    if is_full(names, limits::EVENT_NAMES_PER_SITE) {
        return Err(Conflict::EventNames.into());
    }
    // Last: what is read is kept for the life of the process.
    let stored = one(connection, site, &new.name)?.ok_or(Conflict::Gone)?;
    idempotency::keep(connection, site, new.remember.as_ref(), &stored)?;
    Ok(stored)
}

fn update(connection: &Connection, site: i64, change: &OwnTypeChange) -> DbResult<OwnType> {
    let own = &change.own;
    let values = params![
        site,
        own.app.0,
        own.event.as_str(),
        own.updated_at.as_micros(),
        own.description,
        own.params_schema.as_str(),
        own.sample.as_str(),
        change.at.as_micros(),
    ];
    let written = write(connection, UPDATE, values)?;
    let found = one(connection, site, own.event.as_str())?;
    match found.filter(|it| it.app == own.app) {
        Some(found) if written == 1 => Ok(found),
        Some(_) => Err(DbError::from(Conflict::Changed)),
        None => Err(DbError::from(Conflict::Gone)),
    }
}

fn delete(
    connection: &Connection,
    site: i64,
    (app, event): (AppId, EventType),
    expected: Option<Timestamp>,
) -> DbResult<bool> {
    let found = one(connection, site, event.as_str())?;
    let Some(found) = found.filter(|it| it.app == app) else {
        return Ok(false);
    };
    if expected.is_some_and(|at| at != found.updated_at) {
        return Err(Conflict::Changed.into());
    }
    match count(connection, SUBSCRIBERS, params![site, event.as_str()])? {
        0 => Ok(write(connection, DELETE, params![site, app.0, event.as_str()])? == 1),
        some => Err(Conflict::Subscribed(some).into()),
    }
}

#[async_trait]
impl EventTypeStore for Scoped {
    async fn list_event_types(
        &self,
        app: AppId,
        page: PageRequest,
    ) -> Result<Page<OwnType>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let (limit, offset) = bounds(page);
                let values = params![site, app.0, limit, offset];
                Ok(Page {
                    items: all(connection, LIST, values, read)?,
                    total: count(connection, COUNT, params![site, app.0])?,
                })
            })
            .await
    }

    async fn event_type(&self, name: &str) -> Result<Option<OwnType>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| one(connection, self.site(), name))
    }

    async fn event_type_names(&self) -> Result<Vec<EventType>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| all(connection, NAMES, [site], read_name))
            .await
    }

    async fn insert_event_type(&self, new: NewOwnType) -> Result<OwnType, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| insert(connection, site, &new))
            .await
    }

    async fn update_event_type(&self, change: OwnTypeChange) -> Result<OwnType, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| update(connection, site, &change))
            .await
    }

    async fn delete_event_type(
        &self,
        app: AppId,
        event: EventType,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| delete(connection, site, (app, event), expected))
            .await
    }

    async fn subscriber_counts(
        &self,
        app: Option<AppId>,
    ) -> Result<Vec<(EventType, u64)>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let values = params![site, app.map(|app| app.0)];
                all(connection, COUNT_SUBSCRIBERS, values, read_count)
            })
            .await
    }
}
