-- name: ids_of_keys
-- Which notification came first under each dedup_key. Looked up in the unique index notifications_dedup_key.
SELECT dedup_key, id FROM notify.notifications WHERE dedup_key = ANY ($1::text[])

-- name: known_channels
-- The whole table: a handful of rows.
SELECT name FROM notify.channels ORDER BY name

-- name: known_templates
-- Which of these names have a template. Looked up in the unique index on (name, channel, locale, version).
SELECT DISTINCT name FROM notify.templates WHERE name = ANY ($1::text[])

-- name: ping
-- Touches nothing: it asks only whether Postgres answers.
SELECT

-- name: status
-- All that is known of one notification, in one statement and so of one moment. Every part is found by the primary
-- key of notifications or by an index that begins with notification_id, and takes no lock.
SELECT n.id, n.event_type, n.user_id, n.actor_user_id, n.channels, n.payload, n.template_name, n.dedup_key,
       n.priority, n.created_at, n.deliver_at, n.expires_at, n.traceparent, n.digest_key, n.digest_window,
       n.escalate_after, n.escalate_channels, n.is_digest, n.canceled_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(d)), '[]')
          FROM (SELECT d.channel, d.status, d.attempts, d.attempts_allowed, d.provider, d.provider_message_id,
                       d.error_class, d.reason, d.claimed_at, d.settled_at, i.digest_id
                  FROM notify.deliveries d
                  LEFT JOIN notify.digest_items i ON i.notification_id = d.notification_id AND i.channel = d.channel
                  WHERE d.notification_id = n.id) AS d) AS deliveries,
       (SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.at), '[]')
          FROM (SELECT at, channel, event, attempt, detail
                  FROM notify.delivery_events WHERE notification_id = n.id) AS e) AS events,
       (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]')
          FROM (SELECT due_at, channels, reason
                  FROM notify.scheduled WHERE notification_id = n.id) AS s) AS scheduled,
       (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.at), '[]')
          FROM (SELECT channel, device_id, status, attempt, provider, message_id, error_class, reason, at
                  FROM notify.push_attempts WHERE notification_id = n.id) AS p) AS devices
FROM notify.notifications AS n
WHERE n.id = $1

-- name: lock_open_digests
-- The channels on which a notification waits in a digest that is still open, and locks that: whoever closes it
-- comes before or after. Primary keys.
SELECT i.channel FROM notify.digest_items i JOIN notify.digests g ON g.id = i.digest_id
WHERE i.notification_id = $1 AND g.closed_at IS NULL
ORDER BY g.id FOR NO KEY UPDATE OF g

-- name: cancel
-- What the schema's own function says of each channel.
SELECT channel, status, stopped FROM notify.cancel($1)

-- name: canceled_at
SELECT canceled_at FROM notify.notifications WHERE id = $1

-- name: settle_canceled
-- In a short transaction, after cancel: what is still on the road is settled here, so that the answer is certain. A
-- claim of the same delivery comes before, and then it is sending, or waits for us and finds it final. $2: channels on
-- which it is taken out of a digest. By primary key, in order of the channel.
WITH settled AS (
  INSERT INTO notify.deliveries AS d (notification_id, channel, status, attempts_allowed, reason, settled_at)
  SELECT n.id, c.name, 'canceled', c.max_attempts, 'canceled before it was sent', clock_timestamp()
  FROM notify.notifications n JOIN notify.channels c ON c.name = ANY (n.channels)
  WHERE n.id = $1 AND n.canceled_at IS NOT NULL
  ORDER BY c.name
  ON CONFLICT (notification_id, channel) DO UPDATE SET
    status = 'canceled', reason = excluded.reason, error_class = NULL, settled_at = excluded.settled_at
  WHERE d.status IN ('pending', 'retrying', 'deferred') OR d.status = 'digested' AND d.channel = ANY ($2::text[])
  RETURNING d.channel, d.attempts
)
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
SELECT $1, channel, 'canceled', attempts, '{"reason": "canceled before it was sent"}' FROM settled
