-- Environment variables of all functions of an app: values by name, and keys of secrets by name. A function's own
-- stand among its options.
ALTER TABLE apps ADD COLUMN variables TEXT NOT NULL DEFAULT '{}';
