-- What waits for its turn, by site and function, so that the oldest of each is found without
-- looking at the others'. What is held in memory costs it nothing.
DROP INDEX invocations_waiting;
CREATE INDEX invocations_waiting
    ON invocations (site_id, function_id, COALESCE(due_at, queued_at))
    WHERE state IN ('pending', 'retrying') AND holder IS NULL;
