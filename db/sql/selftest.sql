-- name: start
-- From where on this run's rows lie: a transaction id and a moment in ms, so that nothing older is looked at.
SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms

-- name: hops
-- When each notification was written, put into a tick, claimed and settled; all by Postgres' clock. The log by its
-- index (xid, id), ticks by theirs on ms, deliveries by their primary key.
SELECT o.notification_id AS id, o.priority AS lane, extract(epoch FROM o.created_at)::float8 AS created,
       tick.ms / 1000.0::float8 AS ticked, extract(epoch FROM d.claimed_at)::float8 AS claimed,
       extract(epoch FROM d.settled_at)::float8 AS settled, d.status
FROM notify.outbox o
LEFT JOIN LATERAL (
  SELECT ms FROM notify.relay_ticks t
  WHERE t.ms >= $2 AND pg_visible_in_snapshot(o.xid, t.snapshot) ORDER BY ms LIMIT 1) tick ON true
LEFT JOIN notify.deliveries d ON d.notification_id = o.notification_id AND d.channel = $4
WHERE o.xid >= $1 AND o.notification_id = ANY ($3::uuid[]) AND o.attempt = 0
