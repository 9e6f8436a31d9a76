-- name: list_dead
-- Newest first, a page at a time: $7 and $8 are the last row of the page before. The open ones of a channel come from
-- the partial index (channel, failed_at); id decides between letters of the same instant. Notifications by primary key.
SELECT f.id, f.notification_id, n.event_type, f.channel, f.error_class, f.reason, f.attempts, f.stream, f.entry_id,
       f.raw IS NOT NULL AND f.notification_id IS NULL AS undecodable, n.payload, f.failed_at, f.redriven_at,
       f.discarded_at
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
WHERE {filter}
  AND ($7::timestamptz IS NULL OR (f.failed_at, f.id) < ($7, $8::uuid))
ORDER BY f.failed_at DESC, f.id DESC
LIMIT $9

-- name: filter
-- No statement but a condition, put where the others say {filter}.
($1::text IS NULL OR f.channel = $1) AND ($2::text IS NULL OR f.error_class = $2)
  AND ($3::timestamptz IS NULL OR f.failed_at >= $3) AND ($4::timestamptz IS NULL OR f.failed_at < $4)
  AND ($5::uuid IS NULL OR f.notification_id = $5)
  AND ($6 OR f.redriven_at IS NULL AND f.discarded_at IS NULL)

-- name: count_dead
-- How many of each kind, under the same filter as the list.
SELECT f.channel, f.error_class, count(*) AS letters
FROM notify.notifications_failed f
WHERE {filter}
GROUP BY f.channel, f.error_class
ORDER BY f.channel, f.error_class

-- name: pick_dead
-- The letters to redrive or to discard, oldest first, and for each the state of its delivery. The rows are locked until
-- the transaction ends, so two redrives at once divide the work between them. $7: ids, or NULL for what the filter finds.
SELECT f.id, f.notification_id, f.channel, f.raw IS NOT NULL AND f.notification_id IS NULL AS undecodable,
       f.redriven_at IS NOT NULL AS redriven, f.discarded_at IS NOT NULL AS discarded, d.status,
       n.canceled_at IS NOT NULL AS canceled, coalesce(n.expires_at <= clock_timestamp(), false) AS expired
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
LEFT JOIN notify.deliveries d ON d.notification_id = f.notification_id AND d.channel = f.channel
WHERE CASE WHEN $7::uuid[] IS NOT NULL THEN f.id = ANY ($7) ELSE {filter} END
ORDER BY f.failed_at, f.id
LIMIT $8
FOR NO KEY UPDATE OF f SKIP LOCKED

-- name: redrive
-- See the function: people call it in SQL, too.
SELECT notification_id, channel FROM notify.redrive($1, $2)

-- name: discard
-- See the function.
SELECT notify.discard($1)

-- name: unmirrored
-- Letters that the stream of dead letters has not seen, oldest first, by a partial index that holds only those. Locked
-- until they are marked; what another worker has in hand is passed over. Nothing in them is anybody's personal data.
SELECT f.id, f.notification_id, n.event_type, f.channel, f.error_class, f.reason, f.attempts, f.failed_at
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
WHERE f.mirrored_at IS NULL
ORDER BY f.failed_at, f.id
LIMIT $1
FOR NO KEY UPDATE OF f SKIP LOCKED

-- name: mark_mirrored
-- By primary key, in the transaction that holds their locks.
UPDATE notify.notifications_failed SET mirrored_at = clock_timestamp() WHERE id = ANY ($1::uuid[])
