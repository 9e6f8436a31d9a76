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
       n.priority, n.created_at, n.deliver_at, n.expires_at, n.traceparent, n.canceled_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(d)), '[]')
          FROM (SELECT channel, status, attempts, attempts_allowed, provider, provider_message_id, error_class, reason,
                       claimed_at, settled_at
                  FROM notify.deliveries WHERE notification_id = n.id) AS d) AS deliveries,
       (SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.at), '[]')
          FROM (SELECT at, channel, event, attempt, detail
                  FROM notify.delivery_events WHERE notification_id = n.id) AS e) AS events,
       (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]')
          FROM (SELECT due_at, channels, reason
                  FROM notify.scheduled WHERE notification_id = n.id) AS s) AS scheduled
FROM notify.notifications AS n
WHERE n.id = $1
