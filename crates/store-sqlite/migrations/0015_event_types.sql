-- Event types that apps declare. A name is unique in its site, whichever app's it is.
CREATE TABLE event_types (
    id INTEGER PRIMARY KEY,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    app_id INTEGER NOT NULL REFERENCES apps (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    params_schema TEXT NOT NULL,
    sample TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (site_id, name)
) STRICT;
CREATE INDEX event_types_by_app ON event_types (site_id, app_id, name);

-- Every name that was ever declared in a site: a process keeps what it reads, so that they are counted.
CREATE TABLE event_type_names (
    site_id INTEGER NOT NULL REFERENCES sites (id),
    name TEXT NOT NULL,
    PRIMARY KEY (site_id, name)
) STRICT, WITHOUT ROWID;
