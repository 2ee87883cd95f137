-- Which earlier run a replay repeats. Like all of this table it has no foreign key; it is NULL for
-- all but replays, and a NULL at the end of a row costs no look at the row's overflow pages.
ALTER TABLE invocations ADD COLUMN replay_of INTEGER;
