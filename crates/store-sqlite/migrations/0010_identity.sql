-- By which names people sign in: usernames and addresses are one namespace, so each key has one row of
-- one live user. The keys are made by the program (`users::identity`), which fills the table. Without
-- references: its rows are written in one place, with the user's own row, and each would cost a look-up.
CREATE TABLE identities (
    site_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    user_id INTEGER NOT NULL,
    PRIMARY KEY (site_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_of_user ON identities (user_id);

-- Names of live users that stood here before and are another one's by these keys: their users do not
-- sign in by them. `kind` is 'username' or 'email'.
CREATE TABLE identity_conflicts (
    site_id INTEGER NOT NULL REFERENCES sites (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (user_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_conflicts_by_key ON identity_conflicts (site_id, key);

-- The *_key columns of users are for seeking and sorting from now on, and hold the folded text.
DROP INDEX users_by_username;
DROP INDEX users_by_email;
CREATE INDEX users_by_username ON users (site_id, username_key) WHERE is_deleted = 0;
CREATE INDEX users_by_email ON users (site_id, email_key) WHERE is_deleted = 0;

-- What people set for themselves, in the clients that they use.
ALTER TABLE users ADD COLUMN preferences TEXT NOT NULL DEFAULT '{}';
