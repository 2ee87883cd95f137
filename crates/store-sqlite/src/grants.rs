//! Roles: grants of one user or of a page of users, and giving and taking them.

use crate::error::DbResult;
use crate::rows::{Record, all, json, write};
use rusqlite::{Connection, Row, params};
use tollgate_core::ids::{AppId, UserId};
use tollgate_core::ports::store::RoleGrant;
use tollgate_core::rights::RoleName;
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;

const OF_USER: &str = "
    SELECT g.user_id, g.app_id, a.slug AS app_slug, g.role, g.expires_at
    FROM role_grants g LEFT JOIN apps a ON a.id = g.app_id AND a.site_id = g.site_id
    WHERE g.site_id = ?1 AND g.user_id = ?2 AND (g.expires_at IS NULL OR g.expires_at > ?3)
    ORDER BY g.app_id, g.role";
const OF_USERS: &str = "
    SELECT g.user_id, g.app_id, a.slug AS app_slug, g.role, g.expires_at
    FROM role_grants g LEFT JOIN apps a ON a.id = g.app_id AND a.site_id = g.site_id
    WHERE g.site_id = ?1 AND g.user_id IN (SELECT value FROM json_each(?2))
        AND (g.expires_at IS NULL OR g.expires_at > ?3)
    ORDER BY g.user_id, g.app_id, g.role";
/// Only users and apps of the site are touched; pairs with others are passed over.
const ASSIGN: &str = "
    INSERT INTO role_grants (site_id, user_id, app_id, role, expires_at)
    SELECT site_id, id, ?3, ?4, ?5 FROM users
    WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0 AND (?3 = 0 OR EXISTS (
        SELECT 1 FROM apps WHERE site_id = ?1 AND id = ?3 AND deleted_at IS NULL))
    ON CONFLICT (user_id, app_id, role) DO UPDATE SET expires_at = excluded.expires_at";
const REVOKE: &str = "
    DELETE FROM role_grants WHERE site_id = ?1 AND user_id = ?2 AND app_id = ?3 AND role = ?4";
/// What was decided on somebody's rights before is not written any more.
const RAISE_REVISION: &str = "
    UPDATE users SET revision = revision + 1 WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";
/// Ended grants of the same users go with the next change, so that none pile up.
const FORGET_ENDED: &str = "
    DELETE FROM role_grants WHERE site_id = ?1 AND user_id = ?2 AND expires_at <= ?3";

/// None for a grant of which nobody knows what it gives, so that it gives nothing.
fn read(row: &Row<'_>) -> DbResult<(UserId, Option<RoleGrant>)> {
    let mut row = Record::new("role_grants", row);
    let user = UserId(row.get("user_id")?);
    let app: i64 = row.get("app_id")?;
    let app_slug = row.shown_text_opt("app_slug")?;
    let role = row.shown(None, |row| row.word("role", RoleName::from_text).map(Some))?;
    let expires_at = row.time_opt("expires_at")?;
    if !row.damaged().is_empty() {
        return Ok((user, None));
    }
    let grant = role.map(|role| RoleGrant {
        app_id: (app != 0).then_some(AppId(app)),
        app_slug,
        role,
        expires_at,
    });
    Ok((user, grant))
}

pub(crate) fn of_user(
    connection: &Connection,
    site: i64,
    user: UserId,
    now: Timestamp,
) -> DbResult<Vec<RoleGrant>> {
    let values = params![site, user.0, now.as_micros()];
    let grants = all(connection, OF_USER, values, |row| Ok(read(row)?.1))?;
    Ok(grants.into_iter().flatten().collect())
}

/// Notes the roles of a user.
fn note<'g>(user: &mut User, grants: impl Iterator<Item = &'g Option<RoleGrant>>) {
    let mut is_damaged = false;
    for grant in grants {
        match grant {
            Some(grant) => user.roles.push(grant.slug()),
            None => is_damaged = true,
        }
    }
    if is_damaged {
        user.damaged.push("roles");
    }
}

/// Fills in the roles of one user.
pub(crate) fn fill_one(
    connection: &Connection,
    site: i64,
    user: &mut User,
    now: Timestamp,
) -> DbResult<()> {
    let values = params![site, user.id.0, now.as_micros()];
    let grants = all(connection, OF_USER, values, |row| Ok(read(row)?.1))?;
    note(user, grants.iter());
    Ok(())
}

/// Fills in the roles of a page of users with one query.
pub(crate) fn fill(
    connection: &Connection,
    site: i64,
    users: &mut [User],
    now: Timestamp,
) -> DbResult<()> {
    let ids: Vec<i64> = users.iter().map(|user| user.id.0).collect();
    let values = params![site, json(&ids)?, now.as_micros()];
    let grants = all(connection, OF_USERS, values, read)?;
    for user in users {
        let id = user.id;
        let start = grants.partition_point(|(owner, _)| *owner < id);
        let own = grants[start..].iter().take_while(|(owner, _)| *owner == id);
        note(user, own.map(|(_, grant)| grant));
    }
    Ok(())
}

pub(crate) fn assign(
    connection: &Connection,
    site: i64,
    users: &[UserId],
    grants: &[RoleGrant],
    now: Timestamp,
) -> DbResult<u64> {
    let mut pairs = 0;
    for user in users {
        write(
            connection,
            FORGET_ENDED,
            params![site, user.0, now.as_micros()],
        )?;
        let mut of_user = 0;
        for grant in grants {
            let app = grant.app_id.map_or(0, |app| app.0);
            let end = grant.expires_at.map(|at| at.as_micros());
            let values = params![site, user.0, app, grant.role.as_str(), end];
            of_user += write(connection, ASSIGN, values)? as u64;
        }
        pairs += of_user;
        raise_revision(connection, site, *user, of_user)?;
    }
    Ok(pairs)
}

pub(crate) fn revoke(
    connection: &Connection,
    site: i64,
    users: &[UserId],
    grants: &[RoleGrant],
) -> DbResult<u64> {
    let mut pairs = 0;
    for user in users {
        let mut of_user = 0;
        for grant in grants {
            let app = grant.app_id.map_or(0, |app| app.0);
            let values = params![site, user.0, app, grant.role.as_str()];
            of_user += write(connection, REVOKE, values)? as u64;
        }
        pairs += of_user;
        raise_revision(connection, site, *user, of_user)?;
    }
    Ok(pairs)
}

fn raise_revision(connection: &Connection, site: i64, user: UserId, pairs: u64) -> DbResult<()> {
    if pairs > 0 {
        write(connection, RAISE_REVISION, params![site, user.0])?;
    }
    Ok(())
}
