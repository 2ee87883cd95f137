//! Subscribers: which functions an event runs.

use crate::error::DbResult;
use crate::event_types;
use crate::functions::{executable_columns, executable_joins, shared};
use crate::open::Scoped;
use crate::rows::{Record, all, exists, first, write};
use crate::{author, idempotency};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::events::EventType;
use tollgate_core::ids::{AppId, FunctionId, SiteId, SubscriberId};
use tollgate_core::ports::store::{Conflict, NewSubscriber, StoreError, SubscriberStore};
use tollgate_core::subscribers::{
    Inactive, OnTimeout, Subscriber, SubscriberOptions, Subscription,
};
use tollgate_core::time::Timestamp;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.event, b.function_id, f.name AS function_name, ",
            "f.slug AS function_slug, f.app_id, a.name AS app_name, a.slug AS app_slug, ",
            "b.priority, b.filter, b.timeout_seconds, b.on_timeout, b.max_attempts, ",
            "b.inactive, b.created_at, b.updated_at FROM subscribers b ",
            "JOIN functions f ON f.id = b.function_id AND f.site_id = b.site_id ",
            "JOIN apps a ON a.id = f.app_id AND a.site_id = b.site_id ",
            "WHERE b.site_id = ?1 AND b.event = ?2 ",
            $rest
        )
    };
}

const ONE: &str = select!("AND b.function_id = ?3");
const LIST: &str = select!("AND (?3 IS NULL OR f.app_id = ?3) ORDER BY b.created_at, b.id");
const TO_RUN: &str = concat!(
    "SELECT b.id, b.priority, b.filter, b.timeout_seconds, b.on_timeout, b.max_attempts, b.inactive, ",
    executable_columns!(),
    " FROM subscribers b JOIN functions f ON f.id = b.function_id AND f.site_id = b.site_id ",
    executable_joins!(),
    " AND v.number = f.version WHERE b.site_id = ?1 AND b.event = ?2 ",
    "AND b.inactive IS NOT 'switched_off' AND f.is_active = 1 AND f.deleted_at IS NULL ORDER BY b.priority, b.id"
);
const FUNCTION: &str = "
    SELECT 1 FROM functions WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const INSERT: &str = "
    INSERT INTO subscribers (site_id, event, function_id, priority, filter, timeout_seconds,
        on_timeout, max_attempts, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) ON CONFLICT DO NOTHING";
const UPDATE: &str = "
    UPDATE subscribers SET priority = ?4, filter = ?5, timeout_seconds = ?6, on_timeout = ?7,
        max_attempts = ?8, updated_at = ?9, inactive = iif(?10 IS NULL, inactive,
            iif(?10, NULL, 'switched_off'))
    WHERE site_id = ?1 AND event = ?2 AND function_id = ?3";
const GONE: &str = "
    UPDATE subscribers SET inactive = 'gone', updated_at = ?5
    WHERE site_id = ?1 AND event = ?2 AND function_id = ?3 AND inactive IS NULL AND EXISTS (
        SELECT 1 FROM functions WHERE site_id = ?1 AND id = ?3 AND version = ?4)";
const DELETE: &str = "
    DELETE FROM subscribers WHERE site_id = ?1 AND event = ?2 AND function_id = ?3";

fn read_options(row: &mut Record<'_, '_>) -> DbResult<SubscriberOptions> {
    Ok(SubscriberOptions {
        priority: row.get("priority")?,
        filter: row.get("filter")?,
        timeout_seconds: row.get("timeout_seconds")?,
        on_timeout: row.word("on_timeout", OnTimeout::from_text)?,
        max_attempts: row.get("max_attempts")?,
    })
}

/// The same as they can be shown.
fn show_options(row: &mut Record<'_, '_>) -> DbResult<SubscriberOptions> {
    Ok(SubscriberOptions {
        priority: row.shown(0, |row| row.get("priority"))?,
        filter: row.shown_text_opt("filter")?,
        timeout_seconds: row.shown(None, |row| row.get("timeout_seconds"))?,
        on_timeout: row.shown_word("on_timeout", OnTimeout::Deny, OnTimeout::from_text)?,
        max_attempts: row.shown(None, |row| row.get("max_attempts"))?,
    })
}

fn read(row: &Row<'_>) -> DbResult<Subscriber> {
    let mut row = Record::new("subscribers", row);
    Ok(Subscriber {
        id: SubscriberId(row.get("id")?),
        event: row.word("event", |text| EventType::stored(text).ok())?,
        function_id: FunctionId(row.get("function_id")?),
        function_name: row.shown_text("function_name")?,
        function_slug: row.shown_text("function_slug")?,
        app_id: AppId(row.get("app_id")?),
        app_name: row.shown_text("app_name")?,
        app_slug: row.shown_text("app_slug")?,
        options: show_options(&mut row)?,
        inactive: row.shown(None, |row| row.word_opt("inactive", Inactive::from_text))?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        damaged: row.damaged(),
    })
}

/// None for one that events of its type pass over.
fn read_subscription(
    connection: &Connection,
    row: &Row<'_>,
    event: EventType,
) -> DbResult<Option<Subscription>> {
    let mut row = Record::new("subscribers", row);
    let id = SubscriberId(row.get("id")?);
    let options = read_options(&mut row)?;
    let inactive = row.word_opt("inactive", Inactive::from_text)?;
    let closed = inactive.is_some_and(|why| why.is_closed(event));
    if inactive.is_some() && !closed {
        return Ok(None);
    }
    Ok(Some(Subscription {
        id,
        options,
        closed,
        executable: shared(connection, &mut row)?,
    }))
}

fn one(
    connection: &Connection,
    site: i64,
    event: EventType,
    function: FunctionId,
) -> DbResult<Option<Subscriber>> {
    first(
        connection,
        ONE,
        params![site, event.as_str(), function.0],
        read,
    )
}

/// Refuses a write that was decided on another state than the one that stands there.
fn expect(
    connection: &Connection,
    site: i64,
    (event, function): (EventType, FunctionId),
    expected: Option<Timestamp>,
) -> DbResult<()> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = one(connection, site, event, function)?;
    if found.is_some_and(|it| it.updated_at != expected) {
        return Err(Conflict::Changed.into());
    }
    Ok(())
}

fn update(
    connection: &Connection,
    site: i64,
    key: (EventType, FunctionId),
    (options, is_active): (&SubscriberOptions, Option<bool>),
    at: Timestamp,
) -> DbResult<usize> {
    let values = params![
        site,
        key.0.as_str(),
        key.1.0,
        options.priority,
        options.filter,
        options.timeout_seconds,
        options.on_timeout.as_str(),
        options.max_attempts,
        at.as_micros(),
        is_active,
    ];
    write(connection, UPDATE, values)
}

/// Marks a subscription whose webhook is gone, unless another version is the active one.
pub(crate) fn gone(
    connection: &Connection,
    site: SiteId,
    (event, function): (EventType, FunctionId),
    version: u32,
    at: Timestamp,
) -> DbResult<bool> {
    let values = params![site.0, event.as_str(), function.0, version, at.as_micros()];
    Ok(write(connection, GONE, values)? == 1)
}

fn insert(connection: &Connection, site: i64, new: &NewSubscriber) -> DbResult<Subscriber> {
    idempotency::check(connection, site, new.remember.as_ref())?;
    author::check(connection, site, new.author)?;
    if !exists(connection, FUNCTION, params![site, new.function_id.0])? {
        return Err(Conflict::Gone.into());
    }
    if let Some(app) = new.declared_by {
        event_types::expect(connection, site, app, new.event)?;
    }
    let options = &new.options;
    let values = params![
        site,
        new.event.as_str(),
        new.function_id.0,
        options.priority,
        options.filter,
        options.timeout_seconds,
        options.on_timeout.as_str(),
        options.max_attempts,
        new.created_at.as_micros(),
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::Subscription.into());
    }
    let stored = one(connection, site, new.event, new.function_id)?.ok_or(Conflict::Gone)?;
    idempotency::keep(connection, site, new.remember.as_ref(), &stored)?;
    Ok(stored)
}

#[async_trait]
impl SubscriberStore for Scoped {
    async fn subscriptions(&self, event: EventType) -> Result<Vec<Subscription>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![self.site(), event.as_str()];
            let found = all(connection, TO_RUN, values, |row| {
                read_subscription(connection, row, event)
            })?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    async fn insert_subscriber(&self, new: NewSubscriber) -> Result<Subscriber, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| insert(connection, site, &new))
            .await
    }

    async fn update_subscriber(
        &self,
        event: EventType,
        function: FunctionId,
        options: SubscriberOptions,
        is_active: Option<bool>,
        at: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<Option<Subscriber>, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                expect(connection, site, (event, function), expected)?;
                let new = (&options, is_active);
                update(connection, site, (event, function), new, at)?;
                one(connection, site, event, function)
            })
            .await
    }

    async fn delete_subscriber(
        &self,
        event: EventType,
        function: FunctionId,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                expect(connection, site, (event, function), expected)?;
                let values = params![site, event.as_str(), function.0];
                Ok(write(connection, DELETE, values)? == 1)
            })
            .await
    }

    async fn subscriber(
        &self,
        event: EventType,
        function: FunctionId,
    ) -> Result<Option<Subscriber>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| one(connection, self.site(), event, function))
    }

    async fn list_subscribers(
        &self,
        event: EventType,
        app: Option<AppId>,
    ) -> Result<Vec<Subscriber>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let values = params![site, event.as_str(), app.map(|app| app.0)];
                all(connection, LIST, values, read)
            })
            .await
    }
}
