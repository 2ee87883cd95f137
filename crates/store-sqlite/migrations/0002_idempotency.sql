-- The answers to creating requests that carried an Idempotency-Key, written with their effects.
-- user_id 0 means a caller without a credential. Answers may be long, so this table has a rowid.
CREATE TABLE idempotency_keys (
    id INTEGER PRIMARY KEY,
    site_id INTEGER NOT NULL REFERENCES sites (id),
    user_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    created_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    UNIQUE (site_id, user_id, key)
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
