//! Functions and their versions. A version is never changed; a deleted function is found by
//! nothing but the invocation records that show its name.

use crate::error::{DbError, DbResult, ensure_rows};
use crate::listing::bounds;
use crate::open::Scoped;
use crate::rows::{Record, all, count, first, json, write};
use crate::{apps, author, bundles, idempotency};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use std::sync::Arc;
use tollgate_core::functions::webhook::SealedSecrets;
use tollgate_core::functions::{
    BundleDigest, Environment, Executable, ExecutionMode, Function, FunctionOptions,
    FunctionVersion, InForce, Source, Variables, VersionEntry,
};
use tollgate_core::ids::{AppId, FunctionId, SiteId, UserId, VersionId};
use tollgate_core::ports::store::{
    Conflict, FunctionChange, FunctionStore, Instead, NewFunction, Page, PageRequest, StoreError,
};
use tollgate_core::rights::{ActsAs, Ceiling, FunctionRights, GrantScope, Granted, Permission};
use tollgate_core::time::Timestamp;
use tollgate_core::vault::Sealed;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT f.id, f.app_id, a.name AS app_name, a.slug AS app_slug, f.name, f.slug, ",
            "f.description, f.execution_mode, f.environment, f.is_active, f.is_public, ",
            "f.async_mode, f.version, f.options, f.permissions, f.permissions_scope, f.acts_as, ",
            "f.granted_by, g.username AS granted_by_username, f.granted_at, ",
            "f.created_at, f.updated_at ",
            "FROM functions f JOIN apps a ON a.id = f.app_id AND a.site_id = f.site_id ",
            "LEFT JOIN users g ON g.id = f.granted_by AND g.site_id = f.site_id ",
            "WHERE f.site_id = ?1 AND f.deleted_at IS NULL ",
            $rest
        )
    };
}

const LIST: &str = select!("AND f.app_id = ?2 ORDER BY f.slug LIMIT ?3 OFFSET ?4");
const COUNT: &str = "
    SELECT COUNT(*) FROM functions WHERE site_id = ?1 AND app_id = ?2 AND deleted_at IS NULL";
const BY_SLUG: &str = select!("AND f.app_id = ?2 AND f.slug = ?3");
const BY_ID: &str = select!("AND f.id = ?2");
const INSERT: &str = "
    INSERT INTO functions (id, site_id, app_id, name, slug, description, execution_mode, environment,
        is_active, is_public, async_mode, version, options, created_at, updated_at, webhook_secret,
        permissions, permissions_scope, acts_as, granted_by, granted_at, activation,
        granted_activation)
    VALUES (?14, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, ?11, ?12, ?12, ?13, ?15, ?16, ?17, ?18,
        ?19, 1, iif(?19 IS NULL, NULL, 1))
    ON CONFLICT DO NOTHING";
const INSERT_VERSION: &str = "
    INSERT INTO function_versions (id, site_id, function_id, number, source, created_at, activation, bundle)
    VALUES (?6, ?1, ?2, ?3, ?4, ?5, ?7, ?8)";
const NEXT_VERSION: &str = "
    SELECT COALESCE(MAX(number), 0) + 1 FROM function_versions
    WHERE site_id = ?1 AND function_id = ?2";
const UPDATE: &str = "
    UPDATE OR IGNORE functions SET name = ?3, slug = ?4, description = ?5, execution_mode = ?6,
        environment = ?7, is_active = ?8, is_public = ?9, async_mode = ?10, options = ?11,
        updated_at = ?12, permissions = ?13, permissions_scope = ?14, acts_as = ?15,
        granted_by = ?16, granted_at = ?17
    WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const RUNS_ANOTHER: &str = "
    SELECT count(*) FROM functions WHERE site_id = ?1 AND id = ?2 AND version <> ?3";
const SET_VERSION: &str = "
    UPDATE functions SET version = ?3, updated_at = ?4, activation = activation + 1
    WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
/// After [`SET_VERSION`].
const NOTE_ACTIVATION: &str = "
    UPDATE function_versions SET activation =
        (SELECT activation FROM functions WHERE site_id = ?1 AND id = ?2)
    WHERE site_id = ?1 AND function_id = ?2 AND number = ?3";
/// After what has become active with the same change: what is declared is for that, and for no version
/// before it.
const NOTE_GRANT: &str = "
    UPDATE functions SET granted_activation = iif(granted_at IS NULL, NULL, activation)
    WHERE site_id = ?1 AND id = ?2";
/// PRE subscriptions that a webhook closed which is gone.
const REOPEN: &str = "
    UPDATE subscribers SET inactive = NULL, updated_at = ?3
    WHERE site_id = ?1 AND function_id = ?2 AND inactive = 'gone' AND event GLOB 'PRE_*'";
const SET_MODE: &str = "
    UPDATE functions SET execution_mode = ?3, environment = COALESCE(?4, environment)
    WHERE site_id = ?1 AND id = ?2";
/// Leaves `updated_at`: nobody's change of the function stands in the way of it, nor it in theirs.
const ROTATE_SECRET: &str = "
    UPDATE functions SET webhook_secret_before = webhook_secret, webhook_secret = ?3,
        webhook_secret_before_until = iif(webhook_secret IS NULL, NULL, ?4)
    WHERE site_id = ?1 AND id = ?2 AND execution_mode = 'proxy' AND deleted_at IS NULL";
const SECRETS: &str = "
    SELECT id, webhook_secret, webhook_secret_before, webhook_secret_before_until FROM functions
    WHERE site_id = ?1 AND id = ?2 AND webhook_secret IS NOT NULL";
/// What becomes of deleted functions of site ?1 at ?3; which ones they are follows.
macro_rules! delete_functions {
    ($which:literal) => {
        concat!(
            "UPDATE functions SET deleted_at = ?3, updated_at = ?3, webhook_secret = NULL, ",
            "webhook_secret_before = NULL, webhook_secret_before_until = NULL ",
            "WHERE site_id = ?1 AND deleted_at IS NULL AND ",
            $which
        )
    };
}
pub(crate) use delete_functions;

const DELETE: &str = delete_functions!("id = ?2");
const DELETE_SUBSCRIBERS: &str = "DELETE FROM subscribers WHERE site_id = ?1 AND function_id = ?2";
macro_rules! versions {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM function_versions v ",
            "JOIN functions f ON f.id = v.function_id AND f.site_id = v.site_id ",
            "WHERE v.site_id = ?1 AND v.function_id = ?2 AND f.deleted_at IS NULL ",
            $rest
        )
    };
}

const VERSIONS: &str = versions!(
    "v.id, v.function_id, v.number, v.created_at, v.number = f.version AS is_active",
    "ORDER BY v.number DESC LIMIT ?3 OFFSET ?4"
);
const VERSION: &str = versions!(
    "v.id, v.function_id, v.number, v.created_at, v.number = f.version AS is_active, v.source",
    "AND v.number = ?3"
);
const COUNT_VERSIONS: &str = versions!("COUNT(*)", "");
const SOURCE: &str = "
    SELECT v.id, v.source
    FROM function_versions v JOIN functions f ON f.id = v.function_id AND f.site_id = v.site_id
    WHERE v.site_id = ?1 AND v.function_id = ?2 AND v.number = ?3 AND f.deleted_at IS NULL";

/// The columns that [`read_executable`] reads.
macro_rules! executable_columns {
    () => {
        "v.id, f.site_id, s.slug AS site_slug, f.app_id, a.slug AS app_slug, \
         f.id AS function_id, f.name AS function_name, f.slug AS function_slug, v.number, \
         v.source, f.options, f.acts_as, s.egress_hosts, a.variables AS app_variables"
    };
}
/// The tables that they come from, beside `functions f`.
macro_rules! executable_joins {
    () => {
        "JOIN sites s ON s.id = f.site_id \
         JOIN apps a ON a.id = f.app_id AND a.site_id = f.site_id \
         JOIN function_versions v ON v.function_id = f.id AND v.site_id = f.site_id"
    };
}
pub(crate) use {executable_columns, executable_joins};

/// What surrounds a function that is not stored yet.
const SURROUNDINGS: &str = "
    SELECT s.slug AS site_slug, a.slug AS app_slug, s.egress_hosts, a.variables AS app_variables
    FROM apps a JOIN sites s ON s.id = a.site_id WHERE a.site_id = ?1 AND a.id = ?2";

/// Whose the secret is that functions of app ?2 read under key ?3, and when it was last written: the app's own hides
/// the site's, which is 0.
const STAMP: &str = "
    SELECT app_id, updated_at FROM secrets WHERE site_id = ?1 AND app_id IN (0, ?2) AND key = ?3
    ORDER BY app_id DESC LIMIT 1";
/// Those of all apps where ?2 is 0. One that cannot be read is run by nobody.
const WITH_SECRET: &str = "
    SELECT f.id FROM functions f JOIN apps a ON a.id = f.app_id AND a.site_id = f.site_id
    WHERE f.site_id = ?1 AND ?2 IN (0, f.app_id) AND f.is_active = 1 AND f.deleted_at IS NULL
        AND ?3 IN (
            SELECT value FROM json_each(
                iif(json_valid(f.options), f.options, '{}'), '$.variables.secret_env')
            UNION ALL
            SELECT value FROM json_each(
                iif(json_valid(a.variables), a.variables, '{}'), '$.secret_env'))
    ORDER BY f.id";

const EXECUTABLE: &str = concat!(
    "SELECT ",
    executable_columns!(),
    " FROM functions f ",
    executable_joins!(),
    " AND v.number = f.version WHERE f.site_id = ?1 AND f.id = ?2 AND f.deleted_at IS NULL"
);

const EXECUTABLE_OF: &str = concat!(
    "SELECT ",
    executable_columns!(),
    " FROM functions f ",
    executable_joins!(),
    " AND v.number = ?3 WHERE f.site_id = ?1 AND f.id = ?2 AND f.deleted_at IS NULL"
);

/// Without a version ?3, of the active one.
const CEILING: &str = "
    SELECT f.id, f.slug, f.app_id, a.slug AS app_slug, f.permissions, f.permissions_scope, f.acts_as,
        f.granted_by, NULL AS granted_by_username, f.granted_at,
        f.granted_activation IS NULL OR COALESCE(v.activation >= f.granted_activation, 0)
            AS approved
    FROM functions f JOIN apps a ON a.id = f.app_id AND a.site_id = f.site_id
    JOIN function_versions v ON v.function_id = f.id AND v.site_id = f.site_id
        AND v.id = COALESCE(?3, v.id) AND (?3 IS NOT NULL OR v.number = f.version)
    WHERE f.site_id = ?1 AND f.id = ?2 AND f.deleted_at IS NULL";

pub(crate) fn read_executable(
    connection: &Connection,
    row: &mut Record<'_, '_>,
    instead: Instead<'_>,
) -> DbResult<Executable> {
    let version_id = VersionId(row.get("id")?);
    let mut executable = Executable {
        site_id: SiteId(row.get("site_id")?),
        site_slug: row.get("site_slug")?,
        app_id: AppId(row.get("app_id")?),
        app_slug: row.get("app_slug")?,
        function_id: FunctionId(row.get("function_id")?),
        function_name: row.get("function_name")?,
        function_slug: row.get("function_slug")?,
        version_id,
        version: row.u32("number")?,
        source: row.json("source")?,
        options: row.json("options")?,
        acts_as: row.word("acts_as", ActsAs::from_text)?,
        egress_hosts: row.json("egress_hosts")?,
        in_force: Arc::default(),
    };
    let of_app = row.json("app_variables")?;
    if let Some(options) = instead.options {
        executable.options.clone_from(options);
    }
    put_in_force(
        connection,
        &mut executable,
        instead.of_app.unwrap_or(&of_app),
    )?;
    Ok(executable)
}

/// Gives an executable the variables of its options, over those of its app.
fn put_in_force(
    connection: &Connection,
    executable: &mut Executable,
    of_app: &Variables,
) -> DbResult<()> {
    let (site, app) = (executable.site_id.0, executable.app_id.0);
    let stamp = |key: &str| {
        first(connection, STAMP, params![site, app, key], |row| {
            Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?)))
        })
    };
    let found = InForce::new(&executable.options.variables, of_app, stamp)?;
    executable.in_force = Arc::new(found);
    Ok(())
}

/// What a function declares; `granted_by_username` stands between the columns of who did.
fn read_rights(row: &mut Record<'_, '_>) -> DbResult<FunctionRights> {
    // What cannot be read allows the least.
    let permissions = row.shown_word("permissions", Vec::new(), permissions)?;
    let scope = row.shown_word("permissions_scope", GrantScope::App, GrantScope::from_text)?;
    let acts_as = row.shown_word("acts_as", ActsAs::Caller, ActsAs::from_text)?;
    let by = row.get::<Option<i64>>("granted_by")?.map(UserId);
    let by_username = row.shown_text_opt("granted_by_username")?;
    let at = row.time_opt("granted_at")?;
    Ok(FunctionRights {
        permissions,
        scope,
        acts_as,
        granted: by.zip(at).map(|(by, at)| Granted {
            by,
            by_username,
            at,
        }),
    })
}

/// Names of permissions. One that this program does not know is none that it could give.
fn permissions(text: &str) -> Option<Vec<Permission>> {
    let names: Vec<String> = serde_json::from_str(text).ok()?;
    names
        .iter()
        .map(|name| Permission::from_text(name))
        .collect()
}

fn permission_names(rights: &FunctionRights) -> DbResult<String> {
    let names = rights.permissions.iter().map(|it| it.as_str());
    json(&names.collect::<Vec<_>>())
}

fn read(row: &Row<'_>) -> DbResult<Function> {
    let mut row = Record::new("functions", row);
    Ok(Function {
        id: FunctionId(row.get("id")?),
        app_id: AppId(row.get("app_id")?),
        app_name: row.shown_text("app_name")?,
        app_slug: row.shown_text("app_slug")?,
        name: row.shown_text("name")?,
        slug: row.shown_name("slug")?,
        description: row.shown_text("description")?,
        execution_mode: row.shown_word(
            "execution_mode",
            ExecutionMode::App,
            ExecutionMode::from_text,
        )?,
        environment: row.shown_word("environment", Environment::Python, Environment::from_text)?,
        is_active: row.get("is_active")?,
        is_public: row.get("is_public")?,
        async_mode: row.get("async_mode")?,
        version: row.shown(0, |row| row.u32("version"))?,
        options: row.shown_json("options", FunctionOptions::default())?,
        rights: read_rights(&mut row)?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        damaged: row.damaged(),
    })
}

fn read_columns(row: &mut Record<'_, '_>) -> DbResult<VersionEntry> {
    Ok(VersionEntry {
        id: VersionId(row.get("id")?),
        function_id: FunctionId(row.get("function_id")?),
        number: row.shown(0, |row| row.u32("number"))?,
        created_at: row.time("created_at")?,
        is_active: row.get("is_active")?,
        damaged: row.damaged(),
    })
}

fn read_entry(row: &Row<'_>) -> DbResult<VersionEntry> {
    read_columns(&mut Record::new("function_versions", row))
}

fn read_version(row: &Row<'_>) -> DbResult<FunctionVersion> {
    let mut row = Record::new("function_versions", row);
    let entry = read_columns(&mut row)?;
    // It shows nothing.
    let source = row.shown_json("source", Source::System)?;
    let damaged = row.damaged();
    let entry = VersionEntry { damaged, ..entry };
    Ok(FunctionVersion { entry, source })
}

fn by_id(connection: &Connection, site: i64, id: FunctionId) -> DbResult<Option<Function>> {
    first(connection, BY_ID, params![site, id.0], read)
}

fn insert(
    connection: &Connection,
    site: i64,
    new: &NewFunction,
    (id, version): (FunctionId, VersionId),
) -> DbResult<Function> {
    idempotency::check(connection, site, new.remember.as_ref())?;
    author::check(connection, site, new.author)?;
    apps::expect(connection, site, new.app_id)?;
    let at = new.created_at.as_micros();
    let values = params![
        site,
        new.app_id.0,
        new.name,
        new.slug,
        new.description,
        new.execution_mode.as_str(),
        new.environment.as_str(),
        new.is_active,
        new.is_public,
        new.async_mode,
        json(&new.options)?,
        at,
        new.webhook_secret.as_ref().map(|sealed| &sealed.0),
        id.0,
        permission_names(&new.rights)?,
        new.rights.scope.as_str(),
        new.rights.acts_as.as_str(),
        new.rights.granted.as_ref().map(|granted| granted.by.0),
        new.rights
            .granted
            .as_ref()
            .map(|granted| granted.at.as_micros()),
    ];
    if write(connection, INSERT, values)? == 0 {
        return Err(Conflict::Slug.into());
    }
    let bundle = bundles::named(&new.source);
    let source = json(&new.source)?;
    let values = params![site, id.0, 1, source, at, version.0, 1, bundle];
    ensure_rows(
        "insert version",
        write(connection, INSERT_VERSION, values)?,
        1,
    )?;
    let stored = by_id(connection, site, id)?.ok_or(Conflict::Gone)?;
    idempotency::keep(connection, site, new.remember.as_ref(), &stored)?;
    Ok(stored)
}

fn update(connection: &Connection, site: i64, change: &FunctionChange) -> DbResult<Function> {
    let function = &change.function;
    let at = change.at.as_micros();
    author::check(connection, site, change.author)?;
    let found = by_id(connection, site, function.id)?.ok_or(Conflict::Gone)?;
    if found.updated_at != function.updated_at {
        return Err(Conflict::Changed.into());
    }
    let values = params![
        site,
        function.id.0,
        function.name,
        function.slug,
        function.description,
        function.execution_mode.as_str(),
        function.environment.as_str(),
        function.is_active,
        function.is_public,
        function.async_mode,
        json(&function.options)?,
        at,
        permission_names(&function.rights)?,
        function.rights.scope.as_str(),
        function.rights.acts_as.as_str(),
        function.rights.granted.as_ref().map(|granted| granted.by.0),
        function
            .rights
            .granted
            .as_ref()
            .map(|granted| granted.at.as_micros()),
    ];
    // The row is there, so only the slug's uniqueness can have been ignored.
    if write(connection, UPDATE, values)? == 0 {
        return Err(Conflict::Slug.into());
    }
    if let Some(number) = change.version
        && !activate(connection, site, function.id, number, change.at)?
    {
        return Err(Conflict::Gone.into());
    }
    if change.declares {
        write(connection, NOTE_GRANT, params![site, function.id.0])?;
    }
    by_id(connection, site, function.id)?.ok_or_else(|| Conflict::Gone.into())
}

fn insert_version(
    connection: &Connection,
    site: i64,
    id: FunctionId,
    version: VersionId,
    source: &Source,
    at: Timestamp,
) -> DbResult<FunctionVersion> {
    if by_id(connection, site, id)?.is_none() {
        return Err(Conflict::Gone.into());
    }
    let number = count(connection, NEXT_VERSION, params![site, id.0])?;
    let number = u32::try_from(number).map_err(DbError::bug)?;
    let never = None::<i64>;
    let at_micros = at.as_micros();
    let values = params![
        site,
        id.0,
        number,
        json(source)?,
        at_micros,
        version.0,
        never,
        bundles::named(source),
    ];
    let rows = write(connection, INSERT_VERSION, values)?;
    ensure_rows("insert version", rows, 1)?;
    Ok(FunctionVersion {
        entry: VersionEntry {
            id: version,
            function_id: id,
            number,
            created_at: at,
            is_active: false,
            damaged: Vec::new(),
        },
        source: source.clone(),
    })
}

fn delete(
    connection: &Connection,
    site: i64,
    id: FunctionId,
    at: Timestamp,
    expected: Option<Timestamp>,
) -> DbResult<bool> {
    let found = by_id(connection, site, id)?;
    if found.is_some_and(|it| expected.is_some_and(|at| at != it.updated_at)) {
        return Err(Conflict::Changed.into());
    }
    if write(connection, DELETE, params![site, id.0, at.as_micros()])? == 0 {
        return Ok(false);
    }
    write(connection, DELETE_SUBSCRIBERS, params![site, id.0])?;
    Ok(true)
}

/// The function's mode and language follow the version, because they are part of what runs.
fn activate(
    connection: &Connection,
    site: i64,
    id: FunctionId,
    number: u32,
    at: Timestamp,
) -> DbResult<bool> {
    let source = first(connection, SOURCE, params![site, id.0, number], |row| {
        let mut row = Record::new("function_versions", row);
        row.get::<i64>("id")?;
        row.json::<Source>("source")
    })?;
    let Some(source) = source else {
        return Ok(false);
    };
    let values = params![site, id.0, number, at.as_micros()];
    let is_another = count(connection, RUNS_ANOTHER, params![site, id.0, number])? > 0;
    ensure_rows("set version", write(connection, SET_VERSION, values)?, 1)?;
    let rows = write(connection, NOTE_ACTIVATION, params![site, id.0, number])?;
    ensure_rows("note activation", rows, 1)?;
    let environment = match &source {
        Source::App { environment, .. } => Some(environment.as_str()),
        Source::Proxy { .. } | Source::System => None,
    };
    let values = params![site, id.0, source.mode().as_str(), environment];
    ensure_rows("set mode", write(connection, SET_MODE, values)?, 1)?;
    if is_another {
        // It answers for itself.
        write(connection, REOPEN, params![site, id.0, at.as_micros()])?;
    }
    Ok(true)
}

#[async_trait]
impl FunctionStore for Scoped {
    async fn list_functions(
        &self,
        app: AppId,
        page: PageRequest,
    ) -> Result<Page<Function>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let (limit, offset) = bounds(page);
                Ok(Page {
                    items: all(connection, LIST, params![site, app.0, limit, offset], read)?,
                    total: count(connection, COUNT, params![site, app.0])?,
                })
            })
            .await
    }

    async fn function(&self, app: AppId, slug: &str) -> Result<Option<Function>, StoreError> {
        self.inner.readers.look_up(|connection| {
            first(connection, BY_SLUG, params![self.site(), app.0, slug], read)
        })
    }

    async fn function_by_id(&self, id: FunctionId) -> Result<Option<Function>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| by_id(connection, self.site(), id))
    }

    async fn executable_of_new(
        &self,
        function: &NewFunction,
    ) -> Result<Option<Executable>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![self.site(), function.app_id.0];
            first(connection, SURROUNDINGS, values, |row| {
                let mut row = Record::new("apps", row);
                let (id, version_id) = function.ids.unwrap_or((FunctionId(0), VersionId(0)));
                let mut executable = Executable {
                    site_id: SiteId(self.site()),
                    site_slug: row.get("site_slug")?,
                    app_id: function.app_id,
                    app_slug: row.get("app_slug")?,
                    function_id: id,
                    function_name: function.name.clone(),
                    function_slug: function.slug.clone(),
                    version_id,
                    version: 1,
                    source: function.source.clone(),
                    options: function.options.clone(),
                    acts_as: function.rights.acts_as,
                    egress_hosts: row.json("egress_hosts")?,
                    in_force: Arc::default(),
                };
                let of_app = row.json("app_variables")?;
                put_in_force(connection, &mut executable, &of_app)?;
                Ok(executable)
            })
        })
    }

    async fn insert_function(&self, function: NewFunction) -> Result<Function, StoreError> {
        let site = self.site();
        let ids = function.ids.unwrap_or_else(|| self.inner.ids.function());
        self.inner
            .writer
            .write(move |connection| insert(connection, site, &function, ids))
            .await
    }

    async fn update_function(&self, change: FunctionChange) -> Result<Function, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| update(connection, site, &change))
            .await
    }

    async fn delete_function(
        &self,
        id: FunctionId,
        at: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| delete(connection, site, id, at, expected))
            .await
    }

    async fn rotate_webhook_secret(
        &self,
        id: FunctionId,
        secret: Sealed,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| {
                let values = params![site, id.0, secret.0, until.as_micros()];
                Ok(write(connection, ROTATE_SECRET, values)? == 1)
            })
            .await
    }

    async fn versions(
        &self,
        id: FunctionId,
        page: PageRequest,
    ) -> Result<Page<VersionEntry>, StoreError> {
        let site = self.site();
        self.inner
            .readers
            .list(move |connection| {
                let (limit, offset) = bounds(page);
                let values = params![site, id.0, limit, offset];
                Ok(Page {
                    items: all(connection, VERSIONS, values, read_entry)?,
                    total: count(connection, COUNT_VERSIONS, params![site, id.0])?,
                })
            })
            .await
    }

    async fn version(
        &self,
        id: FunctionId,
        number: u32,
    ) -> Result<Option<FunctionVersion>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![self.site(), id.0, number];
            first(connection, VERSION, values, read_version)
        })
    }

    async fn insert_version(
        &self,
        id: FunctionId,
        source: Source,
        at: Timestamp,
    ) -> Result<FunctionVersion, StoreError> {
        let site = self.site();
        let version = self.inner.ids.version();
        self.inner
            .writer
            .write(move |connection| insert_version(connection, site, id, version, &source, at))
            .await
    }

    async fn keep_bundle(
        &self,
        digest: BundleDigest,
        encoded: Vec<u8>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let site = self.site();
        self.inner
            .writer
            .write(move |connection| bundles::keep(connection, site, &digest, &encoded, at))
            .await
    }

    async fn bundle(&self, digest: &BundleDigest) -> Result<Option<Vec<u8>>, StoreError> {
        let (site, digest) = (self.site(), digest.clone());
        self.inner
            .readers
            .list(move |connection| bundles::find(connection, site, &digest))
            .await
    }

    async fn executable(&self, id: FunctionId) -> Result<Option<Executable>, StoreError> {
        self.inner.readers.look_up(|connection| {
            first(connection, EXECUTABLE, params![self.site(), id.0], |row| {
                let mut row = Record::new("function_versions", row);
                read_executable(connection, &mut row, Instead::default())
            })
        })
    }

    async fn executable_of(
        &self,
        id: FunctionId,
        number: u32,
        instead: Instead<'_>,
    ) -> Result<Option<Executable>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![self.site(), id.0, number];
            first(connection, EXECUTABLE_OF, values, |row| {
                let mut row = Record::new("function_versions", row);
                read_executable(connection, &mut row, instead)
            })
        })
    }

    async fn functions_with_secret(
        &self,
        app: Option<AppId>,
        key: &str,
    ) -> Result<Vec<FunctionId>, StoreError> {
        let (site, app, key) = (self.site(), app.map_or(0, |app| app.0), key.to_owned());
        self.inner
            .readers
            .list(move |connection| {
                all(connection, WITH_SECRET, params![site, app, key], |row| {
                    Ok(FunctionId(row.get(0)?))
                })
            })
            .await
    }
}

/// What a function may do, and whether `version` of it was active since that was declared.
pub(crate) fn ceiling(
    connection: &Connection,
    site: SiteId,
    id: FunctionId,
    version: Option<VersionId>,
) -> DbResult<Option<Ceiling>> {
    let values = params![site.0, id.0, version.map(|version| version.0)];
    first(connection, CEILING, values, |row| {
        let mut row = Record::new("functions", row);
        let function = FunctionId(row.get("id")?);
        Ok(Ceiling {
            function,
            slug: row.get("slug")?,
            app: AppId(row.get("app_id")?),
            app_slug: row.get("app_slug")?,
            rights: read_rights(&mut row)?,
            approved: row.get("approved")?,
        })
    })
}

/// What signs a function's webhooks.
pub(crate) fn webhook_secrets(
    connection: &Connection,
    site: SiteId,
    id: FunctionId,
) -> DbResult<Option<SealedSecrets>> {
    first(connection, SECRETS, params![site.0, id.0], |row| {
        let mut row = Record::new("functions", row);
        row.get::<i64>("id")?;
        let current = Sealed(row.get("webhook_secret")?);
        let before = row.get::<Option<Vec<u8>>>("webhook_secret_before")?;
        let until = row.time_opt("webhook_secret_before_until")?;
        Ok(SealedSecrets {
            current,
            previous: before.map(Sealed).zip(until),
        })
    })
}

/// Shared form for callers that keep it.
pub(crate) fn shared(
    connection: &Connection,
    row: &mut Record<'_, '_>,
) -> DbResult<Arc<Executable>> {
    read_executable(connection, row, Instead::default()).map(Arc::new)
}
