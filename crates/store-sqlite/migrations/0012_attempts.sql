-- What does not count against max_attempts: attempts lost with their worker, put off, handed back, or
-- not possible. One word for all of them, because they share one bound.
ALTER TABLE invocations RENAME COLUMN lost TO uncounted;
-- Attempts made before the last redrive, which counts from 1 again; how often and when it was redriven.
ALTER TABLE invocations ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0;
ALTER TABLE invocations ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;
ALTER TABLE invocations ADD COLUMN redriven_at INTEGER;
-- Every attempt runs version_id, and not the version that is active when it begins.
ALTER TABLE invocations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
-- Why the PRE stage was refused, for a verdict that is a no.
ALTER TABLE invocations ADD COLUMN verdict_message TEXT;

-- Attempts that another one followed, or may follow. The newest stands in the run's own row, so a run that
-- ends at its first attempt has none here. They go with their run.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    invocation_id INTEGER NOT NULL REFERENCES invocations (id) ON DELETE CASCADE,
    fence INTEGER NOT NULL,
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    counts INTEGER NOT NULL,
    redriven INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    worker TEXT,
    failure_kind TEXT,
    failure_message TEXT,
    log_count INTEGER NOT NULL,
    failure_traceback TEXT,
    logs TEXT,
    UNIQUE (invocation_id, fence)
) STRICT;
INSERT INTO attempts (invocation_id, fence, number, version, counts, redriven, started_at, finished_at,
    worker, failure_kind, failure_message, log_count, failure_traceback, logs)
SELECT id, fence, attempt, version, failure_kind NOT IN ('unavailable', 'circuit_open'), 0, started_at,
    updated_at, worker, failure_kind, failure_message, log_count, failure_traceback, logs
FROM invocations WHERE state = 'retrying' AND failure_kind IS NOT NULL;
