-- One sealed value, by which a start tells whether its key is this database's.
CREATE TABLE vault_check (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;

-- Values are sealed for site, app and key. app_id 0 means the whole site: a NULL would escape the
-- unique index.
CREATE TABLE secrets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    app_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    secret_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (site_id, app_id, key)
) STRICT;

-- The hosts that functions with `network: egress` may reach; none means every public one.
ALTER TABLE sites ADD COLUMN egress_hosts TEXT NOT NULL DEFAULT '[]';
