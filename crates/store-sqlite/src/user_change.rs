//! Changes of one user, as parts of a unit of work.

use crate::error::{DbError, DbResult, ensure_rows};
use crate::idempotency;
use crate::identities::{self, Names};
use crate::rows::{first, json, write};
use crate::work;
use rusqlite::{Connection, params};
use tollgate_core::idempotency::{Remember, Remembered};
use tollgate_core::ports::store::{Change, Conflict, StoreError, UserChange};
use tollgate_core::text::folded;
use tollgate_core::users::User;

const INSERT: &str = "
    INSERT INTO users (id, site_id, uuid, username, username_key, email, email_key, first_name,
        last_name, name_key, is_active, is_staff, is_superuser, is_deleted, date_joined, last_login,
        created_at, updated_at, revision, password_hash, attributes)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
        ?20, ?21) ON CONFLICT DO NOTHING";
/// `last_login` belongs to sign-in, which may have happened since the record was read.
const UPDATE: &str = "
    UPDATE users SET username = ?4, username_key = ?5, email = ?6, email_key = ?7,
        first_name = ?8, last_name = ?9, name_key = ?10, is_active = ?11, is_staff = ?12,
        is_superuser = ?13, is_deleted = ?14, updated_at = ?15, revision = ?3 + 1,
        password_hash = COALESCE(?16, password_hash), attributes = ?17, epoch = epoch + ?18
    WHERE id = ?1 AND site_id = ?2 AND revision = ?3 AND is_deleted = 0";
const REVISION: &str = "
    SELECT revision FROM users WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";
const END_TOKENS: &str = "
    UPDATE tokens SET ended_at = ?3 WHERE site_id = ?1 AND user_id = ?2 AND ended_at IS NULL";
const DELETE_KEYS: &str = "DELETE FROM api_keys WHERE site_id = ?1 AND user_id = ?2";

/// A change whose texts were made on the caller's thread.
struct Prepared {
    change: UserChange,
    names: Names,
    username_key: String,
    email_key: String,
    name_key: String,
    attributes: String,
    remember: Option<Remember<User>>,
    remembered: Option<Remembered>,
}

/// A change of a user in this site, for a unit of work.
pub(crate) fn prepared(
    site: i64,
    change: UserChange,
    remember: Option<Remember<User>>,
) -> Result<Change, StoreError> {
    let prepared = Prepared::new(change, remember)?;
    Ok(work::change(move |connection| {
        write_change(connection, site, &prepared)
    }))
}

impl Prepared {
    fn new(change: UserChange, remember: Option<Remember<User>>) -> DbResult<Self> {
        let user = change.user();
        let profile = &user.profile;
        let finish = |remember: &Remember<User>| remember.finish(user).map_err(DbError::bug);
        Ok(Self {
            remembered: remember.as_ref().map(finish).transpose()?,
            names: Names::new(&profile.username, &profile.email),
            username_key: folded(&profile.username),
            email_key: folded(&profile.email),
            name_key: folded(&format!("{} {}", profile.first_name, profile.last_name)),
            attributes: json(&profile.attributes)?,
            change,
            remember,
        })
    }
}

fn write_change(connection: &Connection, site: i64, prepared: &Prepared) -> DbResult<()> {
    match &prepared.change {
        UserChange::Create {
            user,
            password_hash,
        } => {
            idempotency::check(connection, site, prepared.remember.as_ref())?;
            create(connection, site, prepared, user, password_hash.as_deref())?;
            if let Some(remembered) = &prepared.remembered {
                idempotency::insert(connection, site, remembered)?;
            }
            Ok(())
        }
        UserChange::Update {
            user,
            password_hash,
        } => {
            let hash = password_hash.as_deref();
            update(connection, site, prepared, user, hash, false)?;
            match ends_tokens(user, hash) {
                true => end_tokens(connection, site, user),
                false => Ok(()),
            }
        }
        UserChange::Delete { user } => {
            update(connection, site, prepared, user, None, true)?;
            end_credentials(connection, site, user)
        }
    }
}

fn create(
    connection: &Connection,
    site: i64,
    prepared: &Prepared,
    user: &User,
    password_hash: Option<&str>,
) -> DbResult<()> {
    let profile = &user.profile;
    let values = params![
        user.id.0,
        site,
        user.uuid.as_bytes(),
        profile.username,
        prepared.username_key,
        profile.email,
        prepared.email_key,
        profile.first_name,
        profile.last_name,
        prepared.name_key,
        profile.is_active,
        profile.is_staff,
        user.is_superuser,
        user.is_deleted,
        user.date_joined.as_micros(),
        user.last_login.map(|at| at.as_micros()),
        user.created_at.as_micros(),
        user.updated_at.as_micros(),
        user.revision,
        password_hash,
        prepared.attributes,
    ];
    prepared.names.claim_new(connection, site, user.id.0)?;
    if write(connection, INSERT, values)? == 0 {
        return Err(DbError::bug(IdInUse(user.id.0)));
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("user number {0} is in use: it was not taken from a reserved block")]
struct IdInUse(i64);

fn update(
    connection: &Connection,
    site: i64,
    prepared: &Prepared,
    user: &User,
    password_hash: Option<&str>,
    is_deleted: bool,
) -> DbResult<()> {
    let profile = &user.profile;
    let read_at = user.revision - 1;
    let values = params![
        user.id.0,
        site,
        read_at,
        profile.username,
        prepared.username_key,
        profile.email,
        prepared.email_key,
        profile.first_name,
        profile.last_name,
        prepared.name_key,
        profile.is_active,
        profile.is_staff,
        user.is_superuser,
        is_deleted,
        user.updated_at.as_micros(),
        password_hash,
        prepared.attributes,
        is_deleted || ends_tokens(user, password_hash),
    ];
    let who = params![site, user.id.0];
    let revision = first(connection, REVISION, who, |row| Ok(row.get::<_, i64>(0)?))?;
    if revision.is_none() {
        return Err(Conflict::Gone.into());
    }
    if revision != Some(read_at) {
        return Err(Conflict::Changed.into());
    }
    // Before anything is written: a refusal that has changed nothing costs the neighbours nothing.
    if !is_deleted {
        prepared.names.check_free(connection, site, user.id.0)?;
    }
    ensure_rows("a user", write(connection, UPDATE, values)?, 1)?;
    if is_deleted {
        identities::release(connection, site, user.id.0)
    } else {
        prepared.names.claim(connection, site, user.id.0)
    }
}

/// Whether what the user has open ends with this update.
fn ends_tokens(user: &User, password_hash: Option<&str>) -> bool {
    password_hash.is_some() || !user.profile.is_active
}

fn end_tokens(connection: &Connection, site: i64, user: &User) -> DbResult<()> {
    let at = user.updated_at.as_micros();
    write(connection, END_TOKENS, params![site, user.id.0, at]).map(drop)
}

fn end_credentials(connection: &Connection, site: i64, user: &User) -> DbResult<()> {
    end_tokens(connection, site, user)?;
    write(connection, DELETE_KEYS, params![site, user.id.0])?;
    Ok(())
}
