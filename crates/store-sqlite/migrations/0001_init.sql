-- Rules: times are microseconds since 1970; UUIDs are 16 bytes; JSON is text; booleans are 0 or 1.
-- Every table that a tenant owns has a site_id, and every query of a tenant filters on it.
-- AUTOINCREMENT stands where a number must never be given out twice, even after a deletion.

CREATE TABLE sites (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE site_domains (
    domain TEXT NOT NULL PRIMARY KEY,
    site_id INTEGER NOT NULL REFERENCES sites (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX site_domains_by_site ON site_domains (site_id);

CREATE TABLE apps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX apps_by_slug ON apps (site_id, slug) WHERE deleted_at IS NULL;

-- Deleted functions stay: invocation records show their names.
CREATE TABLE functions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    app_id INTEGER NOT NULL REFERENCES apps (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT NOT NULL,
    execution_mode TEXT NOT NULL,
    environment TEXT NOT NULL,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_public INTEGER NOT NULL CHECK (is_public IN (0, 1)),
    async_mode INTEGER NOT NULL CHECK (async_mode IN (0, 1)),
    version INTEGER NOT NULL CHECK (version > 0),
    options TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX functions_by_slug ON functions (app_id, slug) WHERE deleted_at IS NULL;
CREATE INDEX functions_of_site ON functions (site_id, slug);

CREATE TABLE function_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    function_id INTEGER NOT NULL REFERENCES functions (id),
    number INTEGER NOT NULL CHECK (number > 0),
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (function_id, number)
) STRICT;

CREATE TABLE subscribers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    event TEXT NOT NULL,
    function_id INTEGER NOT NULL REFERENCES functions (id),
    priority INTEGER NOT NULL,
    filter TEXT,
    timeout_seconds REAL,
    on_timeout TEXT NOT NULL,
    max_attempts INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (site_id, event, function_id)
) STRICT;
CREATE INDEX subscribers_of_function ON subscribers (function_id);

-- The *_key columns hold the text in Unicode lower case, which SQLite cannot compute itself.
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    uuid BLOB NOT NULL CHECK (length(uuid) = 16),
    username TEXT NOT NULL,
    username_key TEXT NOT NULL,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_staff INTEGER NOT NULL CHECK (is_staff IN (0, 1)),
    is_superuser INTEGER NOT NULL CHECK (is_superuser IN (0, 1)),
    is_deleted INTEGER NOT NULL CHECK (is_deleted IN (0, 1)),
    date_joined INTEGER NOT NULL,
    last_login INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    password_hash TEXT,
    attributes TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_by_username ON users (site_id, username_key) WHERE is_deleted = 0;
CREATE UNIQUE INDEX users_by_email ON users (site_id, email_key) WHERE is_deleted = 0;
-- The rowid follows in every index, so this one also lists a site's users in the order of ids.
CREATE INDEX users_of_site ON users (site_id, is_deleted);

-- app_id 0 means the whole site: a NULL would escape the primary key.
CREATE TABLE role_grants (
    site_id INTEGER NOT NULL REFERENCES sites (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    app_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (user_id, app_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX role_grants_of_app ON role_grants (app_id);

CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX api_keys_of_user ON api_keys (user_id);

CREATE TABLE tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    kind TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    family BLOB NOT NULL CHECK (length(family) = 16),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_of_user ON tokens (user_id);
CREATE INDEX tokens_by_end ON tokens (expires_at);

-- No foreign keys here: this is the hot table, functions and users are never removed, and their
-- owners were checked when the run was made. What is long or seldom read stands last, so that
-- lists do not follow overflow pages.
CREATE TABLE invocations (
    id INTEGER PRIMARY KEY,
    site_id INTEGER NOT NULL,
    task_id BLOB NOT NULL CHECK (length(task_id) = 16),
    function_id INTEGER NOT NULL,
    version_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    event TEXT,
    event_id BLOB CHECK (length(event_id) = 16),
    trigger TEXT NOT NULL,
    waiter TEXT NOT NULL,
    state TEXT NOT NULL,
    holder TEXT,
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    max_attempts INTEGER NOT NULL,
    user_id INTEGER,
    chain_depth INTEGER NOT NULL,
    timeout_us INTEGER NOT NULL,
    worker TEXT,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    due_at INTEGER,
    updated_at INTEGER NOT NULL,
    log_count INTEGER NOT NULL DEFAULT 0,
    failure_kind TEXT,
    failure_message TEXT,
    failure_retry_after_us INTEGER,
    params TEXT NOT NULL,
    result TEXT,
    changes TEXT,
    failure_traceback TEXT,
    logs TEXT
) STRICT;
CREATE UNIQUE INDEX invocations_by_task ON invocations (task_id);
CREATE INDEX invocations_of_site ON invocations (site_id);
CREATE INDEX invocations_of_function ON invocations (function_id);
-- What has not ended, whatever the history: claims read the part without a holder, by due time;
-- start-up reads the rest.
CREATE INDEX invocations_open ON invocations (holder, COALESCE(due_at, queued_at))
    WHERE state IN ('pending', 'running', 'retrying');
-- What ended badly. Successes, which are most, cost it nothing.
CREATE INDEX invocations_unwell ON invocations (site_id, state)
    WHERE state IN ('failed', 'timed_out', 'cancelled', 'dead');

-- One row that `ping` writes, to know that the disk takes writes.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), pings INTEGER NOT NULL) STRICT;
INSERT INTO probe (id, pings) VALUES (1, 0);
