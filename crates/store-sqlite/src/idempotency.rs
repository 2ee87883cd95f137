//! Keys of creating requests, written in the transactions of their effects.
//!
//! A write checks the key first, so that a repeated request changes nothing before it is refused,
//! and stores the answer last, when the record that it shows is written.

use crate::error::{DbError, DbResult};
use crate::open::Scoped;
use crate::rows::{Record, exists, first, write};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tollgate_core::idempotency::{
    Answer, IdempotencyKey, Remember, Remembered, RequestHash, expired_at,
};
use tollgate_core::ids::UserId;
use tollgate_core::ports::store::{Conflict, IdempotencyStore, StoreError, StoredAnswer};
use tollgate_core::time::Timestamp;

const STORED: &str = "
    SELECT id, request_hash, status, answer FROM idempotency_keys
    WHERE site_id = ?1 AND user_id = ?2 AND key = ?3 AND created_at > ?4";
const TAKEN: &str = "
    SELECT 1 FROM idempotency_keys
    WHERE site_id = ?1 AND user_id = ?2 AND key = ?3 AND created_at > ?4";
/// An expired key makes room.
const INSERT: &str = "
    INSERT INTO idempotency_keys (site_id, user_id, key, request_hash, created_at, status, answer)
    VALUES (?1, ?2, ?3, ?5, ?6, ?7, ?8)
    ON CONFLICT (site_id, user_id, key) DO UPDATE SET request_hash = excluded.request_hash,
        created_at = excluded.created_at, status = excluded.status, answer = excluded.answer
    WHERE created_at <= ?4";
const FORGET: &str = "
    DELETE FROM idempotency_keys WHERE id IN (
        SELECT id FROM idempotency_keys WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";

/// The column's value: 0 is nobody.
fn number(user: Option<UserId>) -> i64 {
    user.map_or(0, |user| user.0)
}

/// Refuses a write whose key is there already. Without a key it costs nothing.
pub(crate) fn check<T>(
    connection: &Connection,
    site: i64,
    remember: Option<&Remember<T>>,
) -> DbResult<()> {
    let Some(remember) = remember else {
        return Ok(());
    };
    let after = expired_at(remember.created_at()).as_micros();
    let key = remember.key().as_str();
    let values = params![site, number(remember.user()), key, after];
    if exists(connection, TAKEN, values)? {
        return Err(Conflict::IdempotencyKey.into());
    }
    Ok(())
}

/// Stores the answer that shows `made`, if one is to be remembered.
pub(crate) fn keep<T: 'static>(
    connection: &Connection,
    site: i64,
    remember: Option<&Remember<T>>,
    made: &T,
) -> DbResult<()> {
    match remember {
        Some(remember) => insert(
            connection,
            site,
            &remember.finish(made).map_err(DbError::bug)?,
        ),
        None => Ok(()),
    }
}

/// Stores a finished answer.
pub(crate) fn insert(connection: &Connection, site: i64, remembered: &Remembered) -> DbResult<()> {
    let values = params![
        site,
        number(remembered.user),
        remembered.key.as_str(),
        expired_at(remembered.created_at).as_micros(),
        remembered.request_hash.0,
        remembered.created_at.as_micros(),
        remembered.answer.status,
        remembered.answer.body.as_str(),
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::IdempotencyKey.into());
    }
    Ok(())
}

/// Deletes the oldest keys that were stored before a moment.
pub(crate) fn forget(connection: &Connection, before: Timestamp, limit: usize) -> DbResult<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let deleted = write(connection, FORGET, params![before.as_micros(), limit])?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}

fn read(row: &Row<'_>) -> DbResult<StoredAnswer> {
    let mut row = Record::new("idempotency_keys", row);
    row.get::<i64>("id")?;
    Ok(StoredAnswer {
        request_hash: RequestHash(row.get("request_hash")?),
        answer: Answer {
            status: row.get("status")?,
            body: row.json_text("answer")?,
        },
    })
}

#[async_trait]
impl IdempotencyStore for Scoped {
    async fn stored_answer(
        &self,
        user: Option<UserId>,
        key: &IdempotencyKey,
        after: Timestamp,
    ) -> Result<Option<StoredAnswer>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![self.site(), number(user), key.as_str(), after.as_micros()];
            first(connection, STORED, values, read)
        })
    }
}
