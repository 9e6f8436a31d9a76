-- name: person
-- What is kept of somebody beside the notifications, as one JSON object. Ranges of indexes that begin with user_id;
-- suppressions by the addresses known, in clear or veiled, by primary key for each channel.
WITH recipient AS (SELECT * FROM notify.recipients WHERE user_id = $1),
address AS (
  SELECT lower(a) AS address FROM recipient CROSS JOIN unnest(ARRAY[email, phone]) AS a WHERE a IS NOT NULL
), suppressed AS (
  SELECT c.name AS channel, a.address, coalesce(s.reason, v.reason) AS reason,
         coalesce(s.created_at, v.created_at) AS created_at
  FROM notify.channels c
  CROSS JOIN address a
  LEFT JOIN notify.suppressions s ON s.channel = c.name AND s.address = a.address
  LEFT JOIN notify.veiled_suppressions v
    ON v.channel = c.name AND v.veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), c.name, a.address)
  WHERE s.reason IS NOT NULL OR v.reason IS NOT NULL
)
SELECT jsonb_build_object(
  'recipient', (SELECT to_jsonb(r) FROM recipient r),
  'suppressions', (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM suppressed s),
  'devices', (SELECT coalesce(jsonb_agg(to_jsonb(t) - 'user_id' ORDER BY t.id), '[]')
              FROM notify.device_tokens t WHERE t.user_id = $1),
  'preferences', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'user_id' ORDER BY p.channel, p.event_type), '[]')
                  FROM notify.user_channel_prefs p WHERE p.user_id = $1),
  'webhook_endpoints', (SELECT coalesce(jsonb_agg(to_jsonb(e) - 'user_id' - 'secrets' ORDER BY e.channel), '[]')
                        FROM notify.channels c JOIN notify.webhook_endpoints e ON e.channel = c.name WHERE e.user_id = $1),
  'caps', (SELECT coalesce(jsonb_agg(to_jsonb(c) - 'user_id' ORDER BY c.channel, c.scope), '[]')
           FROM notify.caps c WHERE c.user_id = $1),
  'open_digests', (SELECT coalesce(jsonb_agg(to_jsonb(d) - 'user_id' ORDER BY d.id), '[]')
                   FROM notify.digests d WHERE d.user_id = $1 AND d.closed_at IS NULL),
  'inbox_counters', (SELECT to_jsonb(c) - 'user_id' FROM notify.inbox_counters c WHERE c.user_id = $1))::text

-- name: notifications
-- A page of somebody's notifications with all that hangs on each, the oldest first; $2 and $3 are where the page before
-- ended. Index (user_id, created_at, id), then indexes that begin with notification_id.
SELECT n.created_at, n.id, (to_jsonb(n) - 'user_id' || jsonb_build_object(
  'deliveries', (SELECT coalesce(jsonb_agg(to_jsonb(x) - ARRAY['notification_id', 'lease_token', 'worker', 'lease_until']
                                           ORDER BY x.channel), '[]')
                 FROM notify.deliveries x WHERE x.notification_id = n.id),
  'events', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' ORDER BY x.at), '[]')
             FROM notify.delivery_events x WHERE x.notification_id = n.id),
  'inbox', (SELECT to_jsonb(x) - 'notification_id' - 'user_id' FROM notify.inbox x WHERE x.notification_id = n.id),
  'scheduled', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' ORDER BY x.due_at), '[]')
                FROM notify.scheduled x WHERE x.notification_id = n.id),
  'dead_letters', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' - 'raw' ORDER BY x.failed_at), '[]')
                   FROM notify.notifications_failed x WHERE x.notification_id = n.id),
  'reports', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id'), '[]')
              FROM notify.provider_events x WHERE x.notification_id = n.id),
  'sms_messages', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' ORDER BY x.updated_at), '[]')
                   FROM notify.sms_messages x WHERE x.notification_id = n.id),
  'push_attempts', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' ORDER BY x.at), '[]')
                    FROM notify.push_attempts x WHERE x.notification_id = n.id),
  'digests', (SELECT coalesce(jsonb_agg(to_jsonb(x) - 'notification_id' - 'place' ORDER BY x.channel), '[]')
              FROM notify.digest_items x WHERE x.notification_id = n.id)))::text AS document
FROM notify.notifications n
WHERE n.user_id = $1 AND ($2::timestamptz IS NULL OR (n.created_at, n.id) > ($2, $3::uuid))
ORDER BY n.created_at, n.id LIMIT $4

-- name: acted
-- A page of other people's notifications that name somebody as the one who did it: only that, for the rest is theirs.
-- The partial index (actor_user_id, id).
SELECT n.id, jsonb_build_object('id', n.id, 'event_type', n.event_type, 'created_at', n.created_at)::text AS document
FROM notify.notifications n
WHERE n.actor_user_id = $1 AND ($2::uuid IS NULL OR n.id > $2)
ORDER BY n.id LIMIT $3
