-- name: count
-- What became of the notifications of a time, of the newest $3 of them: index (created_at, id) backwards, so the cost is
-- bounded by that number and not by the table. The bounds are pairs, as the index is: of two plain ones a planner without
-- statistics expects so few rows that it would sort them all. Deliveries by primary key; OFFSET 0 keeps the planner from reading all
-- there are. The first row is the whole; then a row for each group, the largest first within their time.
WITH counted AS MATERIALIZED (
  SELECT id, event_type, priority, channels, created_at, greatest(created_at, deliver_at) AS due_at
  FROM notify.notifications
  WHERE (created_at, id) >= ($1, '00000000-0000-0000-0000-000000000000'::uuid)
    AND (created_at, id) < ($2, '00000000-0000-0000-0000-000000000000'::uuid)
  ORDER BY created_at DESC, id DESC LIMIT $3
), delivery AS (
  SELECT CASE WHEN $4 THEN c.name END AS channel, CASE WHEN $5 THEN n.event_type END AS event_type,
         CASE WHEN $6 THEN n.priority END AS priority,
         CASE WHEN $7::text IS NOT NULL THEN date_trunc($7, n.created_at, 'UTC') END AS period,
         coalesce(d.status, 'pending') AS status,
         CASE WHEN d.status = 'delivered' THEN extract(epoch FROM d.settled_at - n.due_at)::float8 END AS seconds
  FROM counted n
  CROSS JOIN LATERAL unnest(n.channels) AS c (name)
  LEFT JOIN LATERAL (
    SELECT status, settled_at FROM notify.deliveries WHERE notification_id = n.id AND channel = c.name OFFSET 0
  ) d ON true
)
SELECT GROUPING(channel, event_type, priority, period) > 0 AS whole, channel, event_type, priority, period,
       count(*) AS deliveries,
       count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'sending') AS sending,
       count(*) FILTER (WHERE status = 'retrying') AS retrying,
       count(*) FILTER (WHERE status = 'deferred') AS deferred,
       count(*) FILTER (WHERE status = 'digested') AS digested,
       count(*) FILTER (WHERE status = 'delivered') AS delivered,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'unknown') AS unknown,
       count(*) FILTER (WHERE status = 'suppressed') AS suppressed,
       count(*) FILTER (WHERE status = 'canceled') AS canceled,
       count(*) FILTER (WHERE status = 'expired') AS expired,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) AS seconds,
       (SELECT count(*) FROM counted) AS notifications, (SELECT min(created_at) FROM counted) AS first_at
FROM delivery
GROUP BY GROUPING SETS ((), (channel, event_type, priority, period))
ORDER BY whole DESC, period, deliveries DESC, channel, event_type, priority
LIMIT $8
