-- name: dead_letters
-- Open ones by channel, counted up to $1 each: a gauge must not cost what it measures. The partial index holds exactly
-- them, and the order makes it the one that is read; channels without one are told, too, as 0.
SELECT c.name AS channel,
       (SELECT count(*) FROM (SELECT FROM notify.notifications_failed f
          WHERE f.channel = c.name AND redriven_at IS NULL AND discarded_at IS NULL
          ORDER BY failed_at LIMIT $1) open) AS count
FROM notify.channels c

-- name: scheduled
-- What waits for its time and what should have gone, each counted up to $1, and since when the first should have, by
-- Postgres' clock. Index on due_at; statement_timestamp(), because no index serves a volatile clock.
SELECT (SELECT count(*) FROM (SELECT FROM notify.scheduled WHERE due_at > statement_timestamp()
          ORDER BY due_at LIMIT $1) w) AS waiting,
       (SELECT count(*) FROM (SELECT FROM notify.scheduled WHERE due_at <= statement_timestamp()
          ORDER BY due_at LIMIT $1) d) AS overdue,
       greatest(0, extract(epoch FROM statement_timestamp() - (SELECT min(due_at) FROM notify.scheduled)))::float8
         AS overdue_seconds

-- name: server
-- Of the whole server: how full the queue of notifications is (1: COMMITs that notify fail), and how many connections
-- of those that are not reserved for superusers are taken. Views of shared memory, one row a database.
SELECT pg_notification_queue_usage() AS notify_queue,
       (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most

-- name: ending_keys
-- API keys in force that end within $1 days, the next $2 of them. A table of some hundred rows, read whole.
SELECT id, name, extract(epoch FROM expires_at)::float8 AS expires_at
FROM notify.api_keys
WHERE revoked_at IS NULL AND expires_at > now() AND expires_at < now() + make_interval(days => $1)
ORDER BY expires_at, id LIMIT $2

-- name: oldest_row
-- For how many seconds the oldest committed row of a producer or of the API has waited that no tick holds: what began
-- after the newest tick's snapshot, or was in progress in it and has ended. A retry has the date of its notification,
-- which says nothing here. The first $1 rows of each of the two ranges of the index (xid, id).
WITH last AS MATERIALIZED (SELECT snapshot FROM notify.relay_ticks ORDER BY no DESC LIMIT 1)
SELECT extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE origin <> 'schedule'))::float8
FROM ((SELECT created_at, origin FROM notify.outbox
       WHERE xid >= coalesce((SELECT pg_snapshot_xmax(snapshot) FROM last), '1'::xid8) ORDER BY xid, id LIMIT $1)
      UNION ALL
      (SELECT created_at, origin FROM notify.outbox
       WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM last)) ORDER BY xid, id LIMIT $1)) waiting
