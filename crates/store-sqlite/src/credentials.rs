//! Roles, API keys and tokens of one site. Only hashes of secrets ever come here.

use crate::error::DbResult;
use crate::grants;
use crate::idempotency;
use crate::ids::inserted;
use crate::open::Scoped;
use crate::retention;
use crate::rows::{Record, all, write};
use crate::work;
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::ids::{ApiKeyId, UserId};
use tollgate_core::ports::store::{
    ApiKey, Change, Conflict, CredentialStore, Epoch, Made, NewApiKey, RoleGrant, StoreError, Token,
};
use tollgate_core::time::Timestamp;
use uuid::Uuid;

/// Tokens that one sign-in clears away at most.
const CLEAR_AT_ONCE: usize = 32;

const INSERT_KEY: &str = "
    INSERT INTO api_keys (site_id, user_id, name, prefix, hash, created_at, expires_at)
    SELECT site_id, id, ?3, ?4, ?5, ?6, ?7 FROM users
    WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";
const KEYS: &str = "
    SELECT id, user_id, name, prefix, created_at, expires_at, last_used_at FROM api_keys
    WHERE site_id = ?1 AND user_id = ?2 ORDER BY created_at DESC, id DESC";
const DELETE_KEY: &str = "DELETE FROM api_keys WHERE site_id = ?1 AND user_id = ?2 AND id = ?3";
const NOTE_KEY_USE: &str = "UPDATE api_keys SET last_used_at = ?3 WHERE site_id = ?1 AND id = ?2";
const REPLACE_HASH: &str = "
    UPDATE users SET password_hash = ?4
    WHERE site_id = ?1 AND id = ?2 AND password_hash = ?3 AND is_deleted = 0";
const INSERT_TOKEN: &str = "
    INSERT INTO tokens (hash, site_id, kind, user_id, family, created_at, expires_at, ended_at)
    SELECT ?3, site_id, ?4, id, ?5, ?6, ?7, ?8 FROM users
    WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0 AND is_active = 1";
const SIGN_IN: &str = "
    UPDATE users SET last_login = ?3
    WHERE site_id = ?1 AND id = ?2 AND epoch = ?4 AND is_deleted = 0 AND is_active = 1";
const END: &str = "
    UPDATE tokens SET ended_at = ?3
    WHERE site_id = ?1 AND hash = ?2 AND kind = 'refresh' AND ended_at IS NULL";
const END_FAMILY: &str = "
    UPDATE tokens SET ended_at = ?4
    WHERE site_id = ?1 AND user_id = ?2 AND family = ?3 AND ended_at IS NULL";
/// Only a user of the site: the table of another site's user would be written otherwise.
const NOTE_FAMILY: &str = "
    INSERT INTO ended_families (site_id, user_id, family, forget_at)
    SELECT site_id, id, ?3, ?4 FROM users WHERE site_id = ?1 AND id = ?2
    ON CONFLICT DO UPDATE SET forget_at = MAX(forget_at, excluded.forget_at)";

fn read_key(row: &Row<'_>) -> DbResult<ApiKey> {
    let mut row = Record::new("api_keys", row);
    Ok(ApiKey {
        id: ApiKeyId(row.get("id")?),
        user_id: UserId(row.get("user_id")?),
        name: row.shown_text("name")?,
        prefix: row.shown_text("prefix")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_opt("expires_at")?,
        last_used_at: row.time_opt("last_used_at")?,
        damaged: row.damaged(),
    })
}

fn insert_key(connection: &Connection, site: i64, key: &NewApiKey) -> DbResult<ApiKey> {
    idempotency::check(connection, site, key.remember.as_ref())?;
    let values = params![
        site,
        key.user_id.0,
        key.name,
        key.prefix,
        key.hash,
        key.created_at.as_micros(),
        key.expires_at.map(|at| at.as_micros()),
    ];
    if write(connection, INSERT_KEY, values)? == 0 {
        return Err(Conflict::Gone.into());
    }
    let stored = ApiKey {
        id: ApiKeyId(inserted(connection)?),
        user_id: key.user_id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        last_used_at: None,
        damaged: Vec::new(),
    };
    idempotency::keep(connection, site, key.remember.as_ref(), &stored)?;
    Ok(stored)
}

fn insert_token(connection: &Connection, site: i64, token: &Token) -> DbResult<()> {
    let values = params![
        site,
        token.user_id.0,
        token.hash,
        token.kind.as_str(),
        token.family.as_bytes(),
        token.created_at.as_micros(),
        token.expires_at.as_micros(),
        token.ended_at.map(|at| at.as_micros()),
    ];
    if write(connection, INSERT_TOKEN, values)? == 0 {
        return Err(Conflict::Gone.into());
    }
    retention::delete_tokens(connection, CLEAR_AT_ONCE, token.created_at)?;
    Ok(())
}

fn sign_in(connection: &Connection, site: i64, token: &Token, epoch: Epoch) -> DbResult<()> {
    let at = token.created_at.as_micros();
    let values = params![site, token.user_id.0, at, epoch.0];
    if write(connection, SIGN_IN, values)? == 0 {
        return Err(Conflict::Gone.into());
    }
    insert_token(connection, site, token)
}

fn exchange(connection: &Connection, site: i64, used: &str, next: &Token) -> DbResult<bool> {
    let values = params![site, used, next.created_at.as_micros()];
    if write(connection, END, values)? == 0 {
        return Ok(false);
    }
    insert_token(connection, site, next).map(|()| true)
}

/// Whether anything of it was open.
fn end_family(
    connection: &Connection,
    site: i64,
    user: UserId,
    family: Uuid,
    (now, forget_at): (Timestamp, Timestamp),
) -> DbResult<bool> {
    let family = family.as_bytes();
    let values = params![site, user.0, family, now.as_micros()];
    let ended = write(connection, END_FAMILY, values)?;
    let values = params![site, user.0, family, forget_at.as_micros()];
    write(connection, NOTE_FAMILY, values)?;
    Ok(ended > 0)
}

#[async_trait]
impl CredentialStore for Scoped {
    async fn role_grants(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<RoleGrant>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| grants::of_user(connection, self.site(), user, now))
    }

    fn roles_assigned(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
        now: Timestamp,
    ) -> (Change, Made<u64>) {
        let site = self.site();
        work::making(move |connection| grants::assign(connection, site, &users, &grants, now))
    }

    fn roles_revoked(&self, users: Vec<UserId>, grants: Vec<RoleGrant>) -> (Change, Made<u64>) {
        let site = self.site();
        work::making(move |connection| grants::revoke(connection, site, &users, &grants))
    }

    async fn insert_api_key(&self, key: NewApiKey) -> Result<ApiKey, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| insert_key(connection, site, &key))
            .await
    }

    async fn api_keys(&self, user: UserId) -> Result<Vec<ApiKey>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| all(connection, KEYS, params![self.site(), user.0], read_key))
    }

    async fn delete_api_key(&self, user: UserId, id: ApiKeyId) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                Ok(write(connection, DELETE_KEY, params![site, user.0, id.0])? == 1)
            })
            .await
    }

    async fn note_key_use(&self, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                write(
                    connection,
                    NOTE_KEY_USE,
                    params![site, id.0, now.as_micros()],
                )
                .map(drop)
            })
            .await
    }

    async fn replace_password_hash(
        &self,
        user: UserId,
        old: String,
        new: String,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                let values = params![site, user.0, old, new];
                Ok(write(connection, REPLACE_HASH, values)? == 1)
            })
            .await
    }

    fn signed_in(&self, token: Token, epoch: Epoch) -> Change {
        let site = self.site();
        work::change(move |connection| sign_in(connection, site, &token, epoch))
    }

    async fn exchange_token(&self, used: String, next: Token) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| exchange(connection, site, &used, &next))
            .await
    }

    fn signed_out(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Change {
        let (site, times) = (self.site(), (now, forget_at));
        work::change(
            move |connection| match end_family(connection, site, user, family, times)? {
                true => Ok(()),
                false => Err(Conflict::Gone.into()),
            },
        )
    }

    fn family_ended(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Change {
        let (site, times) = (self.site(), (now, forget_at));
        work::change(move |connection| end_family(connection, site, user, family, times).map(drop))
    }
}
