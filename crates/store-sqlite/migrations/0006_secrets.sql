-- One sealed value, by which a start tells whether its key is this database's.
CREATE TABLE vault_check (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
