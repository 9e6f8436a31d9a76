-- name: of_all
-- No statement but what the lists begin with: the newest below a place ($1, $2), down to a moment ($3), at most $4 of
-- them. The index (created_at, id) backwards, so no sort. What is looked for among them costs no more than these rows,
-- whatever the table holds.
SELECT * FROM notify.notifications
WHERE (created_at, id) < ($1, $2::uuid) AND created_at >= $3
ORDER BY created_at DESC, id DESC LIMIT $4

-- name: of_user
-- The same of one user ($11), by the index (user_id, created_at, id) backwards. Said as one range of it: of user_id =
-- $11 a planner without statistics expects a handful of rows, and would sort all that a user has.
SELECT * FROM notify.notifications
WHERE (user_id, created_at, id) < ($11, $1, $2::uuid) AND (user_id, created_at) >= ($11, $3)
ORDER BY user_id DESC, created_at DESC, id DESC LIMIT $4

-- name: of_key
-- The one that has a dedup_key ($11), by its unique index.
SELECT * FROM notify.notifications
WHERE dedup_key = $11 AND (created_at, id) < ($1, $2::uuid) AND created_at >= $3 LIMIT $4

-- name: page
-- Those that fit, newest first, and the last one looked at whether it fits or not, so that the next page is known to
-- begin behind it. Deliveries by primary key, what waits by its index, both only of what fits. One snapshot, no lock.
WITH looked_at AS MATERIALIZED (
  {from}
), numbered AS (
  SELECT n.*, row_number() OVER (ORDER BY created_at DESC, id DESC) AS number,
         ($5::text IS NULL OR n.event_type = $5) AND ($6::text IS NULL OR starts_with(n.event_type, $6))
           AND ($7::text IS NULL OR $7 = ANY (n.channels)) AND ($8::text IS NULL OR n.priority = $8)
           AND ($9::text IS NULL OR n.user_id = $9) AS fits
  FROM looked_at n
)
SELECT n.id, n.event_type, n.user_id, n.actor_user_id, n.channels, n.template_name, n.dedup_key, n.priority,
       n.created_at, n.deliver_at, n.expires_at, n.digest_key, n.is_digest, n.canceled_at,
       CASE WHEN $10 THEN n.payload END AS payload, n.fits, n.number,
       CASE WHEN n.fits THEN
         (SELECT coalesce(jsonb_agg(to_jsonb(d)), '[]')
            FROM (SELECT d.channel, d.status, d.attempts, d.provider, d.error_class, d.reason, d.settled_at, i.digest_id
                    FROM notify.deliveries d
                    LEFT JOIN notify.digest_items i ON i.notification_id = d.notification_id AND i.channel = d.channel
                    WHERE d.notification_id = n.id) d) END AS deliveries,
       CASE WHEN n.fits THEN
         (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]')
            FROM (SELECT due_at, channels, reason FROM notify.scheduled WHERE notification_id = n.id) s) END AS scheduled
FROM numbered n WHERE n.fits OR n.number = $4
ORDER BY n.number
