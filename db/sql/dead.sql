-- name: list_dead
-- Newest first, a page at a time: $5 and $6 are the last row of the page before. The open ones of a channel come from
-- the partial index (channel, failed_at); id decides between letters of the same instant.
SELECT id, notification_id, channel, error_class, reason, attempts, stream, entry_id,
       raw IS NOT NULL AND notification_id IS NULL AS undecodable, failed_at, redriven_at
FROM notify.notifications_failed
WHERE ($1::text IS NULL OR channel = $1) AND ($2::text IS NULL OR error_class = $2)
  AND ($3::timestamptz IS NULL OR failed_at >= $3) AND ($4 OR redriven_at IS NULL)
  AND ($5::timestamptz IS NULL OR (failed_at, id) < ($5, $6::uuid))
ORDER BY failed_at DESC, id DESC
LIMIT $7

-- name: count_dead
-- How many of each kind, under the same filter as the list.
SELECT channel, error_class, count(*) AS letters
FROM notify.notifications_failed
WHERE ($1::text IS NULL OR channel = $1) AND ($2::text IS NULL OR error_class = $2)
  AND ($3::timestamptz IS NULL OR failed_at >= $3) AND ($4 OR redriven_at IS NULL)
GROUP BY channel, error_class
ORDER BY channel, error_class

-- name: pick_dead
-- The letters to redrive, oldest first, and for each the state of its delivery. The rows are locked until the
-- transaction ends, so two redrives at once divide the work between them. $1: ids, or NULL for whatever the filter finds.
SELECT f.id, f.notification_id, f.channel, f.raw IS NOT NULL AND f.notification_id IS NULL AS undecodable,
       f.redriven_at IS NOT NULL AS redriven, d.status, n.canceled_at IS NOT NULL AS canceled,
       coalesce(n.expires_at <= clock_timestamp(), false) AS expired
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
LEFT JOIN notify.deliveries d ON d.notification_id = f.notification_id AND d.channel = f.channel
WHERE CASE WHEN $1::uuid[] IS NOT NULL THEN f.id = ANY ($1)
      ELSE f.redriven_at IS NULL
           AND ($2::text IS NULL OR f.channel = $2) AND ($3::text IS NULL OR f.error_class = $3)
           AND ($4::timestamptz IS NULL OR f.failed_at >= $4) END
ORDER BY f.failed_at, f.id
LIMIT $5
FOR NO KEY UPDATE OF f SKIP LOCKED

-- name: redrive
-- Deliveries that ended without success begin again: same notification, as many attempts more as the channel allows,
-- due at once. The status is judged again under the row's lock, so a delivered one is never sent a second time.
-- By primary key, in order of id, as claim and settle do.
WITH wanted AS (
  SELECT DISTINCT w.id, w.channel FROM unnest($1::uuid[], $2::text[]) AS w (id, channel)
), dead AS (
  SELECT d.notification_id, d.channel, c.max_attempts
  FROM wanted w
  JOIN notify.deliveries d ON d.notification_id = w.id AND d.channel = w.channel AND d.status IN ('failed', 'unknown')
  JOIN notify.channels c ON c.name = w.channel
  ORDER BY d.notification_id, d.channel
  FOR NO KEY UPDATE OF d
), begun AS (
  UPDATE notify.deliveries d
  SET status = 'pending', attempts_allowed = d.attempts + dead.max_attempts, settled_at = NULL
  FROM dead WHERE d.notification_id = dead.notification_id AND d.channel = dead.channel
  RETURNING d.notification_id, d.channel, d.attempts
), due AS (
  INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
  SELECT clock_timestamp(), notification_id, ARRAY[channel], attempts, 'redrive' FROM begun
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt)
  SELECT notification_id, channel, 'redriven', attempts FROM begun
), marked AS (
  UPDATE notify.notifications_failed f SET redriven_at = clock_timestamp()
  FROM begun b WHERE f.notification_id = b.notification_id AND f.channel = b.channel AND f.redriven_at IS NULL
)
SELECT notification_id, channel FROM begun
