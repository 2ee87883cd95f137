//! Who signs in by which name: one row for each key of a live user.
//!
//! Must never take a name from whoever has it, nor leave one with two: every change of a name comes
//! through here, in the transaction of the change.

use crate::DATABASE_FILE;
use crate::error::{DbResult, OpenError};
use crate::open::connect_read_only;
use crate::rows::{all, exists, first, write};
use rusqlite::{Connection, params};
use std::path::Path;
use tollgate_core::ports::store::Conflict;
use tollgate_core::text::folded;
use tollgate_core::users::identity::{kept_email, kept_username, key};

const HOLDER: &str = "SELECT user_id FROM identities WHERE site_id = ?1 AND key = ?2";
const CLAIM: &str = "
    INSERT INTO identities (site_id, key, user_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const FREE_OTHERS: &str = "
    DELETE FROM identities WHERE site_id = ?1 AND user_id = ?2 AND key NOT IN (?3, ?4)
    RETURNING key";
const FREE_ALL: &str = "
    DELETE FROM identities WHERE site_id = ?1 AND user_id = ?2 RETURNING key";
const SHARES: &str = "
    SELECT 1 FROM identity_conflicts
    WHERE site_id = ?1 AND user_id = ?2 AND kind = ?3 AND key = ?4";
/// What the user is not called any more, or signs in by now.
const SETTLE: &str = "
    DELETE FROM identity_conflicts WHERE site_id = ?1 AND user_id = ?2 AND (
        NOT (kind = 'username' AND key = ?3 OR kind = 'email' AND key = ?4)
        OR key IN (SELECT key FROM identities WHERE site_id = ?1 AND user_id = ?2))";
const SETTLE_ALL: &str = "DELETE FROM identity_conflicts WHERE site_id = ?1 AND user_id = ?2";
const NEXT: &str = "
    SELECT user_id FROM identity_conflicts WHERE site_id = ?1 AND key = ?2
    ORDER BY kind = 'username' DESC, user_id LIMIT 1";
const SETTLE_KEY: &str = "
    DELETE FROM identity_conflicts WHERE site_id = ?1 AND user_id = ?2 AND key = ?3";

/// As what somebody has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Username,
    Email,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Email => "email",
        }
    }

    const fn taken(self) -> Conflict {
        match self {
            Self::Username => Conflict::Username,
            Self::Email => Conflict::Email,
        }
    }
}

/// The keys of one user's names. They may be equal.
pub(crate) struct Names {
    username: String,
    email: String,
}

impl Names {
    pub(crate) fn new(username: &str, email: &str) -> Self {
        Self {
            username: key(username),
            email: key(email),
        }
    }

    fn each(&self) -> [(Kind, &str); 2] {
        [(Kind::Username, &self.username), (Kind::Email, &self.email)]
    }

    /// Refuses a name that another one than `user` signs in by, unless `user` has shared it before.
    pub(crate) fn check_free(&self, connection: &Connection, site: i64, user: i64) -> DbResult<()> {
        for (kind, key) in self.each() {
            let holder = holder(connection, site, key)?;
            if holder.is_some_and(|holder| holder != user)
                && !exists(connection, SHARES, params![site, user, kind.as_str(), key])?
            {
                return Err(kind.taken().into());
            }
        }
        Ok(())
    }

    /// Gives them to a user who is new, or refuses one that somebody has. They were free a moment ago, so
    /// that they are asked for only where one is not any more.
    pub(crate) fn claim_new(&self, connection: &Connection, site: i64, user: i64) -> DbResult<()> {
        for (kind, key) in self.each() {
            let claimed = write(connection, CLAIM, params![site, key, user])? == 1;
            // Both may be the same.
            if !claimed && holder(connection, site, key)? != Some(user) {
                return Err(kind.taken().into());
            }
        }
        Ok(())
    }

    /// Gives the user these names and takes the others, after [`Self::check_free`] in the same
    /// transaction.
    pub(crate) fn claim(&self, connection: &Connection, site: i64, user: i64) -> DbResult<()> {
        let values = params![site, user, self.username, self.email];
        let freed = all(connection, FREE_OTHERS, values, |row| Ok(row.get(0)?))?;
        for (_, key) in self.each() {
            write(connection, CLAIM, params![site, key, user])?;
        }
        write(connection, SETTLE, values)?;
        hand_on(connection, site, freed)
    }
}

/// Takes all names from a user who is deleted.
pub(crate) fn release(connection: &Connection, site: i64, user: i64) -> DbResult<()> {
    let freed = all(connection, FREE_ALL, params![site, user], |row| {
        Ok(row.get(0)?)
    })?;
    write(connection, SETTLE_ALL, params![site, user])?;
    hand_on(connection, site, freed)
}

fn holder(connection: &Connection, site: i64, key: &str) -> DbResult<Option<i64>> {
    first(
        connection,
        HOLDER,
        params![site, key],
        |row| Ok(row.get(0)?),
    )
}

/// A name that has become free belongs to whoever has shared it longest, if anybody has.
fn hand_on(connection: &Connection, site: i64, freed: Vec<String>) -> DbResult<()> {
    for key in freed {
        let next = first(connection, NEXT, params![site, key], |row| {
            Ok(row.get::<_, i64>(0)?)
        })?;
        if let Some(user) = next {
            write(connection, CLAIM, params![site, key, user])?;
            write(connection, SETTLE_KEY, params![site, user, key])?;
        }
    }
    Ok(())
}

/// A user as a migration finds one.
struct Found {
    site: i64,
    id: i64,
    username: String,
    email: String,
    full_name: String,
    is_deleted: bool,
}

/// Fills the table from what stands in `users`. A name belongs to whoever has it as a username, else
/// to the oldest. What is nobody else's is brought into its kept form.
pub(crate) fn fill(connection: &Connection) -> DbResult<()> {
    const USERS: &str = "
        SELECT site_id, id, username, email, first_name || ' ' || last_name, is_deleted
        FROM users ORDER BY id";
    const SHARE: &str = "
        INSERT INTO identity_conflicts (site_id, user_id, kind, key) VALUES (?1, ?2, ?3, ?4)";
    const KEEP: &str = "
        UPDATE users SET username = ?2, username_key = ?3, email = ?4, email_key = ?5,
            name_key = ?6 WHERE id = ?1";
    let users = all(connection, USERS, [], |row| {
        Ok(Found {
            site: row.get(0)?,
            id: row.get(1)?,
            username: row.get(2)?,
            email: row.get(3)?,
            full_name: row.get(4)?,
            is_deleted: row.get(5)?,
        })
    })?;
    for kind in [Kind::Username, Kind::Email] {
        for user in users.iter().filter(|user| !user.is_deleted) {
            let key = match kind {
                Kind::Username => key(&user.username),
                Kind::Email => key(&user.email),
            };
            write(connection, CLAIM, params![user.site, key, user.id])?;
            if holder(connection, user.site, &key)? != Some(user.id) {
                let values = params![user.site, user.id, kind.as_str(), key];
                write(connection, SHARE, values)?;
            }
        }
    }
    for user in users {
        let names = Names::new(&user.username, &user.email);
        let own = |key: &str, kept: String, found: &str| -> DbResult<String> {
            let is_own = user.is_deleted || holder(connection, user.site, key)? == Some(user.id);
            Ok(if is_own { kept } else { found.to_owned() })
        };
        let username = own(
            &names.username,
            kept_username(&user.username),
            &user.username,
        )?;
        let email = own(&names.email, kept_email(&user.email), &user.email)?;
        let values = params![
            user.id,
            username,
            folded(&username),
            email,
            folded(&email),
            folded(&user.full_name),
        ];
        write(connection, KEEP, values)?;
    }
    Ok(())
}

/// Brings keys up to date of whom a domain with a final dot named: to DNS it is the same without. Whoever
/// has the other spelling keeps the name.
pub(crate) fn without_final_dots(connection: &Connection) -> DbResult<()> {
    const DOTTED: &str = "SELECT site_id, key, user_id FROM identities WHERE key GLOB '*@*.'";
    const FREE: &str = "DELETE FROM identities WHERE site_id = ?1 AND key = ?2";
    const KIND: &str = "
        SELECT iif(username_key GLOB '*@*.', 'username', 'email') FROM users WHERE id = ?1";
    const SHARE: &str = "
        INSERT INTO identity_conflicts (site_id, user_id, kind, key) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    const SHARED: &str = "
        SELECT site_id, key, user_id FROM identity_conflicts WHERE key GLOB '*@*.'";
    const RESHARE: &str = "
        UPDATE identity_conflicts SET key = ?3 WHERE site_id = ?1 AND key = ?2 AND user_id = ?4";
    type Found = (i64, String, i64);
    let of = |sql| {
        all(connection, sql, [], |row| -> DbResult<Found> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    };
    for (site, old, user) in of(DOTTED)? {
        let new = key(&old);
        if new == old {
            continue;
        }
        write(connection, FREE, params![site, old])?;
        write(connection, CLAIM, params![site, new, user])?;
        if holder(connection, site, &new)? != Some(user) {
            let kind: Option<String> =
                first(connection, KIND, params![user], |row| Ok(row.get(0)?))?;
            write(connection, SHARE, params![site, user, kind, new])?;
        }
    }
    for (site, old, user) in of(SHARED)? {
        write(connection, RESHARE, params![site, old, key(&old), user])?;
    }
    Ok(())
}

/// A name of a user who does not sign in by it, because it is another one's too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedName {
    /// The site's slug.
    pub site: String,
    /// Whose name it is not.
    pub user_id: i64,
    /// `username` or `email`.
    pub kind: String,
    /// As the user's record has it.
    pub name: String,
    /// Who signs in by it.
    pub holder_id: i64,
    /// That user's username.
    pub holder: String,
}

const SHARED: &str = "
    SELECT s.slug, c.user_id, c.kind, iif(c.kind = 'email', u.email, u.username), h.id, h.username
    FROM identity_conflicts c
    JOIN sites s ON s.id = c.site_id
    JOIN users u ON u.id = c.user_id
    JOIN identities i ON i.site_id = c.site_id AND i.key = c.key
    JOIN users h ON h.id = i.user_id
    ORDER BY c.site_id, c.user_id, c.kind";

/// The names in a data folder that more than one user has since before they were one namespace. May
/// be asked while a server uses the folder.
///
/// # Errors
/// [`OpenError`].
pub fn shared_names(data_dir: &Path) -> Result<Vec<SharedName>, OpenError> {
    let connection = connect_read_only(&data_dir.join(DATABASE_FILE))?;
    Ok(of(&connection)?)
}

/// The same for a connection that is open.
pub(crate) fn of(connection: &Connection) -> DbResult<Vec<SharedName>> {
    all(connection, SHARED, [], |row| {
        Ok(SharedName {
            site: row.get(0)?,
            user_id: row.get(1)?,
            kind: row.get(2)?,
            name: row.get(3)?,
            holder_id: row.get(4)?,
            holder: row.get(5)?,
        })
    })
}
