//! Files of versions, by what is in them: stored once in a site, and gone some time after the last version that names
//! them.

use crate::error::{DbError, DbResult};
use crate::rows::{first, write};
use rusqlite::{Connection, params};
use tollgate_core::functions::{BundleDigest, Source};
use tollgate_core::time::Timestamp;

const KEEP: &str = "
    INSERT INTO bundles (site_id, digest, kept_at, files) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (site_id, digest) DO UPDATE SET kept_at = MAX(kept_at, excluded.kept_at)";
const FIND: &str = "SELECT files FROM bundles WHERE site_id = ?1 AND digest = ?2";
pub(crate) const SWEEP: &str = "
    DELETE FROM bundles WHERE id IN (
        SELECT b.id FROM bundles b WHERE b.kept_at < ?1 AND NOT EXISTS (
            SELECT 1 FROM function_versions v JOIN functions f ON f.id = v.function_id
            WHERE v.site_id = b.site_id AND v.bundle = b.digest AND f.deleted_at IS NULL)
        ORDER BY b.kept_at LIMIT ?2)";

/// How a version's row names its files.
pub(crate) fn named(source: &Source) -> Option<&str> {
    match source {
        Source::App {
            bundle: Some(bundle),
            ..
        } => Some(bundle.digest.as_str()),
        Source::App { bundle: None, .. } | Source::Proxy { .. } | Source::System => None,
    }
}

pub(crate) fn keep(
    connection: &Connection,
    site: i64,
    digest: &BundleDigest,
    encoded: &[u8],
    at: Timestamp,
) -> DbResult<()> {
    let values = params![site, digest.as_str(), at.as_micros(), encoded];
    write(connection, KEEP, values).map(drop)
}

pub(crate) fn find(
    connection: &Connection,
    site: i64,
    digest: &BundleDigest,
) -> DbResult<Option<Vec<u8>>> {
    first(connection, FIND, params![site, digest.as_str()], |row| {
        // A row that cannot be read is named by what is in it.
        row.get(0).map_err(DbError::bug)
    })
}

pub(crate) fn sweep(connection: &Connection, limit: usize, before: Timestamp) -> DbResult<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let deleted = write(connection, SWEEP, params![before.as_micros(), limit])?;
    Ok(deleted as u64)
}
