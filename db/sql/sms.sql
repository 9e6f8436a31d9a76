-- name: doubts
-- Deliveries of which an attempt may have arrived, and the message that the provider has reported of since, if any.
-- Only asked for attempts after the first. Index on the events' notification_id, index on the messages'.
SELECT e.notification_id, min(e.at) AS since,
       (SELECT min(m.message_id) FROM notify.sms_messages m
        WHERE m.notification_id = e.notification_id AND m.channel = $1 AND m.status <> ALL ($3::text[])) AS message_id
FROM notify.delivery_events e
WHERE e.notification_id = ANY ($2::uuid[]) AND e.channel = $1
  AND (e.event = 'taken_over' OR e.detail->>'error_class' = 'unknown')
GROUP BY e.notification_id

-- name: others
-- Which of these messages belong to another notification. Primary key.
SELECT message_id FROM notify.sms_messages
WHERE message_id = ANY ($1::text[]) AND NOT (channel = $2 AND notification_id = $3)

-- name: remember
-- In the transaction of settle, after it: the messages of what was delivered. A report that came first is there.
INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank)
SELECT d.provider_message_id, $1, d.notification_id, 'accepted', 0
FROM notify.deliveries d
WHERE d.notification_id = ANY ($2::uuid[]) AND d.channel = $1 AND d.provider_message_id IS NOT NULL
ON CONFLICT (message_id) DO NOTHING

-- name: lock_delivery
-- Reports of one delivery, and its settle, come one after the other: each sees what the one before has written.
SELECT status, attempts, provider FROM notify.deliveries
WHERE notification_id = $1 AND channel = $2
FOR NO KEY UPDATE

-- name: report
-- One report. Gives nothing where it tells nothing new, or the message is another delivery's. Primary key.
INSERT INTO notify.sms_messages AS m (message_id, channel, notification_id, status, rank, reason)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (message_id) DO UPDATE SET
  status = excluded.status, rank = excluded.rank, reason = excluded.reason, updated_at = clock_timestamp()
WHERE m.rank < excluded.rank AND m.channel = excluded.channel AND m.notification_id = excluded.notification_id
RETURNING true

-- name: tell
-- What was reported, on the timeline.
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
VALUES ($1, $2, $3, $4, $5::jsonb)

-- name: resolve
-- The provider has it: nobody needs to wonder or to send again. A retry that is on its way finds it delivered. Under
-- the lock of lock_delivery; the dead letter by its index on notification_id.
WITH resolved AS (
  UPDATE notify.deliveries SET
    status = 'delivered', provider_message_id = $3, error_class = NULL, reason = NULL, settled_at = clock_timestamp()
  WHERE notification_id = $1 AND channel = $2 AND status IN ('unknown', 'retrying', 'deferred')
  RETURNING notification_id
), closed AS (
  DELETE FROM notify.notifications_failed f USING resolved r
  WHERE f.notification_id = r.notification_id AND f.channel = $2 AND f.error_class = 'unknown' AND f.redriven_at IS NULL
)
SELECT EXISTS (SELECT FROM resolved)

-- name: fail_undelivered
-- Taken by the provider, and not delivered in the end: dead letters. Under the lock of lock_delivery, or in the
-- transaction of settle for reports that came before it. Primary key, then the messages' index on notification_id.
-- A message that another attempt has replaced fails nothing.
WITH failed AS (
  UPDATE notify.deliveries d SET
    status = 'failed', error_class = 'undelivered', reason = m.reason, provider_message_id = m.message_id,
    settled_at = clock_timestamp()
  FROM notify.sms_messages m
  WHERE d.notification_id = ANY ($2::uuid[]) AND d.channel = $1
    AND m.notification_id = d.notification_id AND m.channel = $1 AND m.status = ANY ($3::text[])
    AND d.status IN ('delivered', 'unknown') AND coalesce(d.provider_message_id, m.message_id) = m.message_id
  RETURNING d.notification_id, d.attempts, d.reason
), closed AS (
  DELETE FROM notify.notifications_failed f USING failed d
  WHERE f.notification_id = d.notification_id AND f.channel = $1 AND f.error_class = 'unknown' AND f.redriven_at IS NULL
)
INSERT INTO notify.notifications_failed (notification_id, channel, attempts, error_class, reason)
SELECT notification_id, $1, attempts, 'undelivered', coalesce(reason, 'undelivered') FROM failed

-- name: welcome_number
-- Who wants messages again. Only what the recipient's own STOP has put there, be it veiled since. Primary keys.
WITH veiled AS (
  DELETE FROM notify.veiled_suppressions
  WHERE channel = $1 AND veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), $1, lower($2))
    AND starts_with(reason, $3)
)
DELETE FROM notify.suppressions WHERE channel = $1 AND address = lower($2) AND starts_with(reason, $3)
