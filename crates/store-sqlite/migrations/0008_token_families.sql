-- How often all of a user's sessions and tokens were ended at once. Access tokens carry it.
ALTER TABLE users ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
-- Sign-ins that were ended while access tokens of theirs may be about.
CREATE TABLE ended_families (
    site_id INTEGER NOT NULL REFERENCES sites (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    family BLOB NOT NULL CHECK (length(family) = 16),
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, family)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_families_by_end ON ended_families (forget_at);
CREATE INDEX tokens_of_family ON tokens (family);
-- About when: noted once in a while only.
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
