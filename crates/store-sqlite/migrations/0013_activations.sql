-- Which versions a function's permissions are for, by sequence and never by the clock: each time that a
-- version becomes the active one is an activation with a number; permissions are for the version whose
-- activation was the last one when they were declared, and for those of later activations.
ALTER TABLE functions ADD COLUMN activation INTEGER NOT NULL DEFAULT 1;
ALTER TABLE functions ADD COLUMN granted_activation INTEGER;
-- The version's last activation; NULL when it never was the active one.
ALTER TABLE function_versions ADD COLUMN activation INTEGER;

-- What had the permissions keeps them: 2 is what is active now, 1 what was replaced after the
-- declaration, 0 what was replaced before it.
UPDATE functions SET activation = 2, granted_activation = iif(granted_at IS NULL, NULL, 1);
UPDATE function_versions SET activation = CASE
    WHEN f.version = function_versions.number THEN 2
    WHEN retired_at > f.granted_at THEN 1
    WHEN retired_at IS NOT NULL THEN 0 END
FROM functions f WHERE f.id = function_versions.function_id;
ALTER TABLE function_versions DROP COLUMN retired_at;
