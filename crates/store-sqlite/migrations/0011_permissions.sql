-- What a function may do, and who declared it.
ALTER TABLE functions ADD COLUMN permissions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE functions ADD COLUMN permissions_scope TEXT NOT NULL DEFAULT 'app';
ALTER TABLE functions ADD COLUMN acts_as TEXT NOT NULL DEFAULT 'caller';
ALTER TABLE functions ADD COLUMN granted_by INTEGER;
ALTER TABLE functions ADD COLUMN granted_at INTEGER;
-- When the version was last replaced as the active one: permissions that were declared later are not
-- for it.
ALTER TABLE function_versions ADD COLUMN retired_at INTEGER;
-- In whose name a run acts: NULL is whoever caused it, by nobody's own right, bound by all functions of
-- its chain. Like all of this table without foreign keys.
ALTER TABLE invocations ADD COLUMN asker_id INTEGER;
ALTER TABLE invocations ADD COLUMN acting_function_id INTEGER;
ALTER TABLE invocations ADD COLUMN acting_from INTEGER;
