//! Apps. Deleted ones are kept, because their functions' names are, and found by nothing.

use crate::error::DbResult;
use crate::event_types;
use crate::functions::delete_functions;
use crate::idempotency;
use crate::ids::inserted;
use crate::listing::bounds;
use crate::open::Scoped;
use crate::rows::{Record, all, count, exists, first, json, write};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::apps::App;
use tollgate_core::functions::Variables;
use tollgate_core::ids::AppId;
use tollgate_core::ports::store::{AppStore, Conflict, NewApp, Page, PageRequest, StoreError};
use tollgate_core::time::Timestamp;

const LIST: &str = "
    SELECT id, name, slug, description, variables, created_at, updated_at FROM apps
    WHERE site_id = ?1 AND deleted_at IS NULL ORDER BY slug LIMIT ?2 OFFSET ?3";
const COUNT: &str = "SELECT COUNT(*) FROM apps WHERE site_id = ?1 AND deleted_at IS NULL";
const BY_SLUG: &str = "
    SELECT id, name, slug, description, variables, created_at, updated_at FROM apps
    WHERE site_id = ?1 AND slug = ?2 AND deleted_at IS NULL";
const BY_ID: &str = "
    SELECT id, name, slug, description, variables, created_at, updated_at FROM apps
    WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const EXISTS: &str = "SELECT 1 FROM apps WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const INSERT: &str = "
    INSERT INTO apps (site_id, name, slug, description, created_at, updated_at, variables)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT DO NOTHING";
const UPDATE: &str = "
    UPDATE apps SET name = ?3, description = ?4, updated_at = ?5, variables = ?6
    WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const DELETE: &str = "
    UPDATE apps SET deleted_at = ?3 WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const DELETE_SUBSCRIBERS: &str = "
    DELETE FROM subscribers WHERE site_id = ?1
    AND function_id IN (SELECT id FROM functions WHERE site_id = ?1 AND app_id = ?2)";
const DELETE_FUNCTIONS: &str = delete_functions!("app_id = ?2");
const DELETE_SECRETS: &str = "DELETE FROM secrets WHERE site_id = ?1 AND app_id = ?2";
const DELETE_GRANTS: &str = "DELETE FROM role_grants WHERE site_id = ?1 AND app_id = ?2";

fn read(row: &Row<'_>) -> DbResult<App> {
    let mut row = Record::new("apps", row);
    Ok(App {
        id: AppId(row.get("id")?),
        name: row.shown_text("name")?,
        slug: row.shown_name("slug")?,
        description: row.shown_text("description")?,
        variables: row.shown_json("variables", Variables::default())?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        damaged: row.damaged(),
    })
}

fn insert(connection: &Connection, site: i64, app: &NewApp) -> DbResult<App> {
    idempotency::check(connection, site, app.remember.as_ref())?;
    let created_at = app.created_at;
    let values = params![
        site,
        app.name,
        app.slug,
        app.description,
        created_at.as_micros(),
        json(&app.variables)?,
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::Slug.into());
    }
    let stored = App {
        id: AppId(inserted(connection)?),
        name: app.name.clone(),
        slug: app.slug.clone(),
        description: app.description.clone(),
        variables: app.variables.clone(),
        created_at,
        updated_at: created_at,
        damaged: Vec::new(),
    };
    idempotency::keep(connection, site, app.remember.as_ref(), &stored)?;
    Ok(stored)
}

fn update(
    connection: &Connection,
    site: i64,
    app: &App,
    expected: Option<Timestamp>,
) -> DbResult<App> {
    let found = first(connection, BY_ID, params![site, app.id.0], read)?.ok_or(Conflict::Gone)?;
    if expected.is_some_and(|at| at != found.updated_at) {
        return Err(Conflict::Changed.into());
    }
    let values = params![
        site,
        app.id.0,
        app.name,
        app.description,
        app.updated_at.as_micros(),
        json(&app.variables)?,
    ];
    if write(connection, UPDATE, values)? == 0 {
        return Err(Conflict::Gone.into());
    }
    first(connection, BY_ID, params![site, app.id.0], read)?.ok_or_else(|| Conflict::Gone.into())
}

/// Refuses what belongs to an app that is not there.
pub(crate) fn expect(connection: &Connection, site: i64, id: AppId) -> DbResult<()> {
    if exists(connection, EXISTS, params![site, id.0])? {
        Ok(())
    } else {
        Err(Conflict::Gone.into())
    }
}

fn delete(
    connection: &Connection,
    site: i64,
    id: AppId,
    now: Timestamp,
    expected: Option<Timestamp>,
) -> DbResult<bool> {
    if expected.is_some() {
        let found = first(connection, BY_ID, params![site, id.0], read)?;
        if found.is_some_and(|found| expected != Some(found.updated_at)) {
            return Err(Conflict::Changed.into());
        }
    }
    if write(connection, DELETE, params![site, id.0, now.as_micros()])? == 0 {
        return Ok(false);
    }
    event_types::delete_of(connection, site, id)?;
    write(connection, DELETE_SUBSCRIBERS, params![site, id.0])?;
    write(
        connection,
        DELETE_FUNCTIONS,
        params![site, id.0, now.as_micros()],
    )?;
    write(connection, DELETE_SECRETS, params![site, id.0])?;
    write(connection, DELETE_GRANTS, params![site, id.0])?;
    Ok(true)
}

#[async_trait]
impl AppStore for Scoped {
    async fn list_apps(&self, page: PageRequest) -> Result<Page<App>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let (limit, offset) = bounds(page);
                Ok(Page {
                    items: all(connection, LIST, params![site, limit, offset], read)?,
                    total: count(connection, COUNT, [site])?,
                })
            })
            .await
    }

    async fn app(&self, slug: &str) -> Result<Option<App>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| first(connection, BY_SLUG, params![self.site(), slug], read))
    }

    async fn insert_app(&self, app: NewApp) -> Result<App, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| insert(connection, site, &app))
            .await
    }

    async fn update_app(&self, app: App, expected: Option<Timestamp>) -> Result<App, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| update(connection, site, &app, expected))
            .await
    }

    async fn delete_app(
        &self,
        id: AppId,
        now: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| delete(connection, site, id, now, expected))
            .await
    }
}
