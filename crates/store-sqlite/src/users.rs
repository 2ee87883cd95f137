//! Reading users. Changing them is [`crate::user_change`]'s business.

use crate::error::DbResult;
use crate::grants;
use crate::identities::Names;
use crate::listing::{Filter, bounds};
use crate::open::Scoped;
use crate::rows::{Record, all, count, first, json, write};
use crate::user_change;
use async_trait::async_trait;
use rusqlite::{Connection, Row, params, params_from_iter};
use tollgate_core::idempotency::Remember;
use tollgate_core::ids::UserId;
use tollgate_core::json::Object;
use tollgate_core::ports::store::{
    Change, Page, PageRequest, StoreError, UserChange, UserOrder, UserQuery, UserStore,
};
use tollgate_core::text::folded;
use tollgate_core::time::Timestamp;
use tollgate_core::users::identity::key;
use tollgate_core::users::{Preferences, PreferencesChange, Profile, User};
use tollgate_core::validation::FieldError;

/// The columns that [`read`] reads.
macro_rules! user_columns {
    () => {
        "id, uuid, username, email, first_name, last_name, is_active, is_staff, attributes, \
         is_superuser, is_deleted, date_joined, last_login, created_at, updated_at, revision"
    };
}
pub(crate) use user_columns;

const BY_ID: &str = concat!(
    "SELECT ",
    user_columns!(),
    " FROM users WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0"
);
const BY_NAME: &str = concat!(
    "SELECT ",
    user_columns!(),
    " FROM users WHERE site_id = ?1 AND is_deleted = 0 ",
    "AND id = (SELECT user_id FROM identities WHERE site_id = ?1 AND key = ?2)"
);
const LIST: &str = concat!("SELECT ", user_columns!(), " FROM users");
const COUNT: &str = "SELECT COUNT(*) FROM users";
const PREFERENCES: &str = "
    SELECT id, preferences FROM users WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";
const SET_PREFERENCES: &str = "
    UPDATE users SET preferences = ?3 WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";

/// Reads a user without its roles.
pub(crate) fn read_columns(row: &mut Record<'_, '_>) -> DbResult<User> {
    let id = UserId(row.get("id")?);
    let uuid = row.uuid("uuid")?;
    let profile = Profile {
        username: row.shown_name("username")?,
        email: row.shown_text("email")?,
        first_name: row.shown_text("first_name")?,
        last_name: row.shown_text("last_name")?,
        is_active: row.get("is_active")?,
        is_staff: row.get("is_staff")?,
        attributes: row.shown_json("attributes", Object::new())?,
    };
    Ok(User {
        id,
        uuid,
        profile,
        is_superuser: row.get("is_superuser")?,
        is_deleted: row.get("is_deleted")?,
        date_joined: row.time("date_joined")?,
        last_login: row.time_opt("last_login")?,
        roles: Vec::new(),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        revision: row.get("revision")?,
        damaged: row.damaged(),
    })
}

fn read(row: &Row<'_>) -> DbResult<User> {
    read_columns(&mut Record::new("users", row))
}

/// A user that is not deleted, with its roles.
pub(crate) fn by_id(
    connection: &Connection,
    site: i64,
    id: UserId,
    now: Timestamp,
) -> DbResult<Option<User>> {
    let mut user = first(connection, BY_ID, params![site, id.0], read)?;
    if let Some(user) = &mut user {
        grants::fill_one(connection, site, user, now)?;
    }
    Ok(user)
}

fn sought(search: &str) -> String {
    let text = folded(search);
    // What nobody sees stands in no name: as nothing it would stand in all of them.
    if text.is_empty() {
        search.to_owned()
    } else {
        text
    }
}

/// Text is sought in the folded columns with `instr`, which knows no wildcards to escape.
fn filter(site: i64, query: &UserQuery, now: Timestamp) -> DbResult<Filter> {
    let mut filter = Filter::default();
    filter.with("site_id = ?N", site);
    // Constants, so that SQLite sees that the partial indexes apply.
    filter.that(if query.is_deleted {
        "is_deleted = 1"
    } else {
        "is_deleted = 0"
    });
    if let Some(search) = query
        .search
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        filter.with(
            "(instr(username_key, ?N) OR instr(email_key, ?N) OR instr(name_key, ?N))",
            sought(search),
        );
    }
    if let Some(value) = query.is_active {
        filter.with("is_active = ?N", value);
    }
    if let Some(value) = query.is_staff {
        filter.with("is_staff = ?N", value);
    }
    if let Some(value) = query.is_superuser {
        filter.with("is_superuser = ?N", value);
    }
    if !query.roles.is_empty() {
        let roles = filter.bind(json(&query.roles)?);
        let now = filter.bind(now.as_micros());
        filter.that(&format!(
            "id IN (SELECT g.user_id FROM role_grants g \
             LEFT JOIN apps a ON a.id = g.app_id AND a.site_id = g.site_id \
             WHERE g.site_id = ?1 AND (g.expires_at IS NULL OR g.expires_at > {now}) \
             AND iif(g.app_id = 0, g.role, a.slug || ':' || g.role) \
             IN (SELECT value FROM json_each({roles})))"
        ));
    }
    Ok(filter)
}

/// The order ends with the number, so that pages never overlap.
const fn order(query: &UserQuery) -> &'static str {
    match (query.order, query.descending) {
        (UserOrder::Id, false) => "id",
        (UserOrder::Id, true) => "id DESC",
        (UserOrder::Username, false) => "username_key, id",
        (UserOrder::Username, true) => "username_key DESC, id DESC",
        (UserOrder::Email, false) => "email_key, id",
        (UserOrder::Email, true) => "email_key DESC, id DESC",
        (UserOrder::DateJoined, false) => "date_joined, id",
        (UserOrder::DateJoined, true) => "date_joined DESC, id DESC",
        (UserOrder::LastLogin, false) => "last_login, id",
        (UserOrder::LastLogin, true) => "last_login DESC, id DESC",
    }
}

fn list(
    connection: &Connection,
    site: i64,
    query: &UserQuery,
    page: PageRequest,
    now: Timestamp,
) -> DbResult<Page<User>> {
    let mut filter = filter(site, query, now)?;
    let sql = format!("{COUNT}{}", filter.sql());
    let total = count(connection, &sql, params_from_iter(filter.values()))?;
    let (limit, offset) = bounds(page);
    let conditions = filter.sql().to_owned();
    let (limit, offset) = (filter.bind(limit), filter.bind(offset));
    let order = order(query);
    let sql = format!("{LIST}{conditions} ORDER BY {order} LIMIT {limit} OFFSET {offset}");
    let mut items = all(connection, &sql, params_from_iter(filter.values()), read)?;
    grants::fill(connection, site, &mut items, now)?;
    Ok(Page { items, total })
}

fn preferences(connection: &Connection, site: i64, user: UserId) -> DbResult<Option<Preferences>> {
    first(connection, PREFERENCES, params![site, user.0], |row| {
        let mut row = Record::new("users", row);
        row.get::<i64>("id")?;
        Ok(Preferences {
            set: row.shown_json("preferences", Object::new())?,
            is_damaged: !row.damaged().is_empty(),
        })
    })
}

fn change_preferences(
    connection: &Connection,
    site: i64,
    user: UserId,
    change: &PreferencesChange,
) -> DbResult<Option<Result<Object, FieldError>>> {
    let Some(before) = preferences(connection, site, user)? else {
        return Ok(None);
    };
    let after = match change.applied_to(before.set) {
        Ok(after) => after,
        Err(refused) => return Ok(Some(Err(refused))),
    };
    let values = params![site, user.0, json(&after)?];
    write(connection, SET_PREFERENCES, values)?;
    Ok(Some(Ok(after)))
}

#[async_trait]
impl UserStore for Scoped {
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let now = self.inner.clock.now();
        self.inner
            .readers
            .look_up(|connection| by_id(connection, self.site(), id, now))
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let now = self.inner.clock.now();
        let site = self.site();
        self.inner.readers.look_up(|connection| {
            let mut user = first(connection, BY_NAME, params![site, key(name)], read)?;
            if let Some(user) = &mut user {
                grants::fill_one(connection, site, user, now)?;
            }
            Ok(user)
        })
    }

    async fn check_user_is_free(
        &self,
        username: &str,
        email: &str,
        except: Option<UserId>,
    ) -> Result<(), StoreError> {
        let except = except.map_or(0, |id| id.0);
        let names = Names::new(username, email);
        self.inner
            .readers
            .look_up(|connection| names.check_free(connection, self.site(), except))
    }

    async fn preferences(&self, user: UserId) -> Result<Option<Preferences>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| preferences(connection, self.site(), user))
    }

    async fn change_preferences(
        &self,
        user: UserId,
        change: PreferencesChange,
    ) -> Result<Option<Result<Object, FieldError>>, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| change_preferences(connection, site, user, &change))
            .await
    }

    async fn list_users(
        &self,
        query: UserQuery,
        page: PageRequest,
    ) -> Result<Page<User>, StoreError> {
        let now = self.inner.clock.now();
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| list(connection, site, &query, page, now))
            .await
    }

    fn user_change(
        &self,
        change: UserChange,
        remember: Option<Remember<User>>,
    ) -> Result<Change, StoreError> {
        user_change::prepared(self.site(), change, remember)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;
    use crate::rows::plan;

    #[test]
    fn a_sites_users_are_listed_without_sorting() {
        let mut connection = Connection::open_in_memory().unwrap();
        let now = Timestamp::from_micros(0);
        migrations::apply(&mut connection, now).unwrap();
        for (descending, by) in [
            (false, UserOrder::DateJoined),
            (true, UserOrder::DateJoined),
            (false, UserOrder::Id),
        ] {
            let query = UserQuery {
                order: by,
                descending,
                ..UserQuery::default()
            };
            let filter = filter(1, &query, now).unwrap();
            let sql = format!("{LIST}{} ORDER BY {} LIMIT 9", filter.sql(), order(&query));
            let plan = plan(&connection, &sql);
            assert!(plan.contains("SEARCH users USING INDEX"), "{plan}: {sql}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}: {sql}");
        }
    }
}
