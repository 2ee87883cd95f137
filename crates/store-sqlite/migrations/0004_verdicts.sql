-- What the PRE stage made of a run: allow, enrich, deny or broken.
ALTER TABLE invocations ADD COLUMN verdict TEXT;
