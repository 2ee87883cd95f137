-- Files of versions that have more than one, by what is in them.
CREATE TABLE bundles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    digest TEXT NOT NULL,
    -- When they came last.
    kept_at INTEGER NOT NULL,
    files BLOB NOT NULL,
    UNIQUE (site_id, digest)
) STRICT;
CREATE INDEX bundles_kept ON bundles (kept_at);

ALTER TABLE function_versions ADD COLUMN bundle TEXT;
CREATE INDEX function_versions_bundle ON function_versions (site_id, bundle) WHERE bundle IS NOT NULL;
