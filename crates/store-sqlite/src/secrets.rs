//! Secrets, their values sealed: no query here can tell them.

use crate::apps;
use crate::error::{DbError, DbResult};
use crate::idempotency;
use crate::open::Scoped;
use crate::rows::{Record, all, exists, first, json, write};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::ids::AppId;
use tollgate_core::ports::store::{Conflict, SecretStore, StoreError};
use tollgate_core::secrets::{NewSecret, SealedSecret, Secret, SecretChange};
use tollgate_core::time::Timestamp;
use tollgate_core::vault::Sealed;

macro_rules! columns {
    () => {
        "s.id, s.app_id, a.slug AS app_slug, s.key, s.description, s.tags, s.secret_type, \
         s.created_at, s.updated_at"
    };
}

/// A deleted app's secrets went with it.
macro_rules! from {
    () => {
        " FROM secrets s LEFT JOIN apps a ON a.id = s.app_id AND a.site_id = s.site_id \
         WHERE s.site_id = ?1 AND s.app_id = ?2"
    };
}

const LIST: &str = concat!("SELECT ", columns!(), from!(), " ORDER BY s.key");
const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    ", s.sealed",
    from!(),
    " AND s.key = ?3"
);
const INSERT: &str = "
    INSERT INTO secrets
        (site_id, app_id, key, description, tags, secret_type, created_at, updated_at, sealed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8) ON CONFLICT DO NOTHING";
const UPDATE: &str = "
    UPDATE secrets SET description = ?5, tags = ?6, secret_type = ?7, updated_at = ?8,
        sealed = COALESCE(?9, sealed)
    WHERE site_id = ?1 AND app_id = ?2 AND key = ?3 AND updated_at = ?4";
const DELETE: &str = "
    DELETE FROM secrets
    WHERE site_id = ?1 AND app_id = ?2 AND key = ?3 AND updated_at = COALESCE(?4, updated_at)";
const EXISTS: &str = "SELECT 1 FROM secrets WHERE site_id = ?1 AND app_id = ?2 AND key = ?3";

/// The column's value: 0 is the site.
fn number(app: Option<AppId>) -> i64 {
    app.map_or(0, |app| app.0)
}

fn columns(row: &mut Record<'_, '_>) -> DbResult<Secret> {
    row.get::<i64>("id")?;
    let app: i64 = row.get("app_id")?;
    Ok(Secret {
        app: (app != 0).then_some(AppId(app)),
        app_slug: row.shown_text_opt("app_slug")?,
        key: row.shown_name("key")?,
        description: row.shown_text("description")?,
        tags: row.shown_json("tags", Vec::new())?,
        secret_type: row.shown_text("secret_type")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        damaged: row.damaged(),
    })
}

fn read(row: &Row<'_>) -> DbResult<Secret> {
    columns(&mut Record::new("secrets", row))
}

fn read_sealed(row: &Row<'_>) -> DbResult<SealedSecret> {
    let mut row = Record::new("secrets", row);
    Ok(SealedSecret {
        secret: columns(&mut row)?,
        sealed: Sealed(row.get("sealed")?),
    })
}

fn one(
    connection: &Connection,
    site: i64,
    app: Option<AppId>,
    key: &str,
) -> DbResult<Option<SealedSecret>> {
    first(
        connection,
        ONE,
        params![site, number(app), key],
        read_sealed,
    )
}

/// What a write has left there.
fn written(connection: &Connection, site: i64, app: Option<AppId>, key: &str) -> DbResult<Secret> {
    let found = one(connection, site, app, key)?;
    found
        .map(|found| found.secret)
        .ok_or_else(|| Conflict::Gone.into())
}

fn insert(connection: &Connection, site: i64, new: &NewSecret) -> DbResult<Secret> {
    idempotency::check(connection, site, new.remember.as_ref())?;
    let secret = &new.secret;
    if let Some(app) = secret.app {
        apps::expect(connection, site, app)?;
    }
    let values = params![
        site,
        number(secret.app),
        secret.key,
        secret.description,
        json(&secret.tags)?,
        secret.secret_type,
        secret.created_at.as_micros(),
        new.sealed.0,
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::Secret.into());
    }
    let stored = written(connection, site, secret.app, &secret.key)?;
    idempotency::keep(connection, site, new.remember.as_ref(), &stored)?;
    Ok(stored)
}

fn update(connection: &Connection, site: i64, change: &SecretChange) -> DbResult<Secret> {
    let secret = &change.secret;
    let values = params![
        site,
        number(secret.app),
        secret.key,
        secret.updated_at.as_micros(),
        secret.description,
        json(&secret.tags)?,
        secret.secret_type,
        change.at.as_micros(),
        change.sealed.as_ref().map(|sealed| &sealed.0),
    ];
    if write(connection, UPDATE, values)? == 1 {
        return written(connection, site, secret.app, &secret.key);
    }
    match one(connection, site, secret.app, &secret.key)? {
        Some(_) => Err(DbError::from(Conflict::Changed)),
        None => Err(DbError::from(Conflict::Gone)),
    }
}

fn delete(
    connection: &Connection,
    site: i64,
    app: Option<AppId>,
    key: &str,
    expected: Option<Timestamp>,
) -> DbResult<bool> {
    let expected = expected.map(Timestamp::as_micros);
    if write(
        connection,
        DELETE,
        params![site, number(app), key, expected],
    )? > 0
    {
        return Ok(true);
    }
    if exists(connection, EXISTS, params![site, number(app), key])? {
        return Err(Conflict::Changed.into());
    }
    Ok(false)
}

#[async_trait]
impl SecretStore for Scoped {
    async fn secrets(&self, app: Option<AppId>) -> Result<Vec<Secret>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| all(connection, LIST, params![site, number(app)], read))
            .await
    }

    async fn secret(
        &self,
        app: Option<AppId>,
        key: &str,
    ) -> Result<Option<SealedSecret>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| one(connection, self.site(), app, key))
    }

    async fn insert_secret(&self, new: NewSecret) -> Result<Secret, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| insert(connection, site, &new))
            .await
    }

    async fn update_secret(&self, change: SecretChange) -> Result<Secret, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| update(connection, site, &change))
            .await
    }

    async fn delete_secret(
        &self,
        app: Option<AppId>,
        key: &str,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let (site, key) = (self.site(), key.to_owned());
        self.inner
            .writer
            .write(move |connection| delete(connection, site, app, &key, expected))
            .await
    }
}
