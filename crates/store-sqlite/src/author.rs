//! Whoever asks for a write: looked at again in its own transaction, so that a right that was taken
//! meanwhile is not used.

use crate::error::DbResult;
use crate::rows::first;
use rusqlite::{Connection, params};
use tollgate_core::ports::store::{Author, Conflict};

const REVISION: &str = "
    SELECT revision FROM users WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";

/// Refuses when the author is gone, or is not as they were. Comes before anything is written.
pub(crate) fn check(connection: &Connection, site: i64, author: Option<Author>) -> DbResult<()> {
    let Some(author) = author else { return Ok(()) };
    let who = params![site, author.user.0];
    let revision = first(connection, REVISION, who, |row| Ok(row.get::<_, i64>(0)?))?;
    if revision == Some(author.revision) {
        return Ok(());
    }
    Err(Conflict::Author.into())
}
