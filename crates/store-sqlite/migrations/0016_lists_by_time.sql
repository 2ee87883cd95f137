-- Lists go by time, then by number: numbers come from blocks, so that a larger one may be older. The number follows
-- in every index. They replace those that ended with it.
DROP INDEX invocations_of_site;
CREATE INDEX invocations_of_site ON invocations (site_id, queued_at);
DROP INDEX invocations_unwell;
CREATE INDEX invocations_unwell ON invocations (site_id, state, queued_at)
    WHERE state IN ('failed', 'timed_out', 'cancelled', 'dead');
CREATE INDEX users_by_joining ON users (site_id, is_deleted, date_joined);
