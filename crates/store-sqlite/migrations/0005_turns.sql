-- A result is written only under the hold that its run began with. `fence` grows with each claim.
ALTER TABLE invocations ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
-- Attempts that ended with their worker, and do not count.
ALTER TABLE invocations ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
-- The functions whose calls led to the run; NULL for a request from outside.
ALTER TABLE invocations ADD COLUMN chain TEXT;
UPDATE invocations SET fence = attempt;
-- What waits for its turn, by site, so that each site's oldest is found without looking at the
-- others'. What is held in memory costs it nothing.
CREATE INDEX invocations_waiting ON invocations (site_id, COALESCE(due_at, queued_at))
    WHERE state IN ('pending', 'retrying') AND holder IS NULL;
