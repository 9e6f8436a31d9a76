-- name: devices
-- For a batch of claims: each recipient's devices, newest first, whether this push is on them already, and the badge.
-- One row for a recipient without devices. Everything by primary key or by device_tokens_user_id; the sort is of one
-- user's devices. OFFSET 0 keeps the planner from joining whole tables of which it knows nothing yet.
SELECT n.id AS notification_id, coalesce(c.unread, 0) AS unread, p.on_devices IS NOT NULL AS reached,
       d.id, d.platform, d.token, d.registered_at, coalesce(d.id = ANY (p.on_devices), false) AS done
FROM unnest($2::uuid[]) AS e (id)
JOIN notify.notifications n ON n.id = e.id
LEFT JOIN LATERAL (
  SELECT i.unread FROM notify.inbox_counters i WHERE i.user_id = n.user_id OFFSET 0
) c ON true
LEFT JOIN LATERAL (
  SELECT array_agg(a.device_id) AS on_devices FROM notify.push_attempts a
  WHERE a.notification_id = n.id AND a.channel = $1 AND a.status = 'delivered' OFFSET 0
) p ON true
LEFT JOIN LATERAL (
  SELECT t.id, t.platform, t.token, t.registered_at FROM notify.device_tokens t
  WHERE t.user_id = n.user_id ORDER BY t.registered_at DESC, t.id LIMIT $3
) d ON true

-- name: record
-- In the transaction of settle: what became of each device. The deliveries' rows are locked by then, so nobody else
-- writes these. What has arrived stays so.
INSERT INTO notify.push_attempts AS p
  (notification_id, channel, device_id, status, attempt, provider, message_id, error_class, reason)
SELECT r.notification_id, $1, r.device_id, r.status, r.attempt, r.provider, r.message_id, r.error_class, r.reason
FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::text[])
  AS r (notification_id, device_id, status, attempt, provider, message_id, error_class, reason)
ON CONFLICT (notification_id, channel, device_id) DO UPDATE SET
  status = excluded.status, attempt = excluded.attempt, provider = excluded.provider,
  message_id = excluded.message_id, error_class = excluded.error_class, reason = excluded.reason, at = excluded.at
WHERE p.status <> 'delivered'

-- name: forget
-- In the transaction of settle: tokens that are dead, by primary key. Not one that was registered again since it was
-- used. A row that somebody holds is being registered, or forgotten, at this moment: skipped, so that nobody waits
-- crosswise; a token that stays by that is found dead again by the next push.
DELETE FROM notify.device_tokens t USING (
  SELECT d.id FROM unnest($1::uuid[], $2::timestamptz[]) AS g (id, registered_at)
  JOIN notify.device_tokens d ON d.id = g.id AND d.registered_at = g.registered_at
  FOR UPDATE OF d SKIP LOCKED
) gone WHERE t.id = gone.id

-- name: register
-- A device's token, by its unique key: known ones are confirmed, and move to the user who has the device now.
INSERT INTO notify.device_tokens AS d (user_id, platform, token, registered_at)
VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (platform, token) DO UPDATE SET user_id = excluded.user_id, registered_at = excluded.registered_at
RETURNING d.id, d.platform, d.token, d.registered_at

-- name: prune
-- After register: of a user's devices only the newest are kept, as only they would be sent to. By
-- device_tokens_user_id; the sort is of one user's devices. Rows in use elsewhere wait for the next time.
DELETE FROM notify.device_tokens t USING (
  SELECT d.id FROM notify.device_tokens d WHERE d.user_id = $1
  ORDER BY d.registered_at DESC, d.id OFFSET $2 FOR UPDATE SKIP LOCKED
) old WHERE t.id = old.id

-- name: unregister
-- Only the user's own. A few probes of the unique index on (platform, token), or the user's devices by
-- device_tokens_user_id. Repeating it changes nothing.
DELETE FROM notify.device_tokens
WHERE user_id = $1 AND platform IN ('fcm', 'apns') AND token = ANY ($2::text[])

-- name: unregister_all
-- All that a user has, by device_tokens_user_id. Repeating it changes nothing.
DELETE FROM notify.device_tokens WHERE user_id = $1

-- name: devices_of
-- A user's devices, newest first. By device_tokens_user_id; the sort is of one user's devices.
SELECT id, platform, token, registered_at FROM notify.device_tokens
WHERE user_id = $1 ORDER BY registered_at DESC, id LIMIT $2
