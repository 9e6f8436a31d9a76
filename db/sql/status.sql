-- name: schema_is_there
-- Asked before a process starts. The catalogue's own index; needs no right on the table.
SELECT to_regclass('notify.outbox') IS NOT NULL

-- name: revision
-- Alembic's mark. Asked in two steps, because the table is not there before the first migration.
SELECT version_num FROM notify.alembic_version

-- name: revisions_are_kept
SELECT to_regclass('notify.alembic_version') IS NOT NULL

-- name: relay
-- Leader and newest tick, ages by Postgres' clock. Two primary keys; one row, whatever is missing. A released
-- lease is -infinity, which has no seconds: it is no lease.
SELECT l.holder, l.epoch,
       extract(epoch FROM nullif(l.expires_at, '-infinity') - clock_timestamp())::float8 AS lease_seconds,
       t.no AS tick, extract(epoch FROM clock_timestamp())::float8 - t.ms / 1000.0::float8 AS tick_age_seconds
FROM (SELECT 1) one
LEFT JOIN notify.relay_lease l ON l.name = 'relay'
LEFT JOIN (SELECT no, ms FROM notify.relay_ticks ORDER BY no DESC LIMIT 1) t ON true

-- name: lag
-- Committed rows that are in no tick yet, and the age of the oldest: what began after the newest tick's snapshot,
-- and what was in progress in it. A retry has the date of its notification, which says nothing here. The two index
-- ranges (xid, id) that the relay itself reads, cut at $1 rows, so that a look costs the same however long the backlog.
WITH last AS (
  SELECT coalesce((SELECT snapshot FROM notify.relay_ticks ORDER BY no DESC LIMIT 1), '1:1:'::pg_snapshot) AS snapshot)
SELECT count(*) AS rows,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE origin <> 'schedule')), 0)::float8
         AS seconds
FROM ((SELECT created_at, origin FROM notify.outbox
       WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM last) ORDER BY xid, id LIMIT $1)
      UNION ALL
      (SELECT created_at, origin FROM notify.outbox
       WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM last)) LIMIT $1)) waiting

-- name: channels
-- Every channel there is, and how many shards of it may hold something; a handful of rows.
SELECT c.name, c.enabled, s.shards, s.readable
FROM notify.channels c JOIN notify.shards s ON s.channel = c.name ORDER BY c.name

-- name: deliveries
-- By channel and state, of notifications since $3. Nearly all have a UUIDv7, so they are a range of the primary key, from
-- the lowest one of that moment ($1) to one that is not due yet ($2), however many deliveries lie before it. The others
-- bring an id of their own, as those of Debezium's view: they are found by when they were made, in an index that has
-- the id too, and then by primary key.
SELECT channel, status, count(*) AS count
FROM (SELECT channel, status FROM notify.deliveries WHERE notification_id >= $1 AND notification_id < $2
      UNION ALL
      SELECT d.channel, d.status
      FROM notify.notifications n
      CROSS JOIN LATERAL (SELECT channel, status FROM notify.deliveries WHERE notification_id = n.id OFFSET 0) d
      WHERE n.created_at >= $3 AND (n.id < $1 OR n.id >= $2)) recent
GROUP BY channel, status ORDER BY channel, status

-- name: scheduled
-- What waits for its time, by reason; the next of each. Rows leave the table when due, so it holds little else.
SELECT reason, count(*) AS count, extract(epoch FROM min(due_at) - clock_timestamp())::float8 AS next_seconds
FROM notify.scheduled GROUP BY reason ORDER BY reason

-- name: dead_letters
-- Those that nobody has redriven or discarded. The partial index holds exactly them, in this order.
SELECT channel, count(*) AS count, extract(epoch FROM clock_timestamp() - min(failed_at))::float8 AS oldest_seconds
FROM notify.notifications_failed WHERE redriven_at IS NULL AND discarded_at IS NULL
GROUP BY channel ORDER BY channel
