-- name: audit__record
INSERT INTO notify.audit_log (actor, via, action, target, detail, request_id)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)

-- name: audit__page
SELECT id, at, actor, via, action, target, detail, request_id FROM notify.audit_log
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3) AND ($4::text IS NULL OR target = $4)
  AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
  AND ($8::text[] IS NULL OR target = ANY ($8) OR split_part(target, ' ', 2) = ANY ($8))
ORDER BY id DESC LIMIT $7

-- name: audit__prune
SELECT notify.audit_prune($1, $2)

-- name: browse__of_all
SELECT * FROM notify.notifications
WHERE (created_at, id) < ($1, $2::uuid) AND created_at >= $3
ORDER BY created_at DESC, id DESC LIMIT $4

-- name: channels__kinds
SELECT name, kind FROM notify.channels ORDER BY name

-- name: channels__all_channels
SELECT name, kind, enabled, config, max_attempts, on_unknown, version, updated_at FROM notify.channels ORDER BY name

-- name: channels__channel
SELECT name, kind, enabled, config, max_attempts, on_unknown, version, updated_at FROM notify.channels WHERE name = $1

-- name: channels__add_channel
INSERT INTO notify.channels (name, kind, config, enabled, max_attempts, on_unknown)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
ON CONFLICT (name) DO NOTHING
RETURNING name, kind, enabled, config, max_attempts, on_unknown, version, updated_at

-- name: channels__change_channel
UPDATE notify.channels SET
  config = coalesce($3::text::jsonb, config), enabled = coalesce($4, enabled),
  max_attempts = coalesce($5, max_attempts), on_unknown = coalesce($6, on_unknown)
WHERE name = $1 AND version = coalesce($2, version)
RETURNING name, kind, enabled, config, max_attempts, on_unknown, version, updated_at

-- name: channels__remove_channel
DELETE FROM notify.channels WHERE name = $1 AND version = coalesce($2, version) RETURNING name

-- name: dead__list_dead
SELECT f.id, f.notification_id, n.event_type, f.channel, f.error_class, f.reason, f.attempts, f.stream, f.entry_id,
       f.raw IS NOT NULL AND f.notification_id IS NULL AS undecodable, n.payload, f.failed_at, f.redriven_at,
       f.discarded_at
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
WHERE -- No statement but a condition, put where the others say {filter}.
($1::text IS NULL OR f.channel = $1) AND ($2::text IS NULL OR f.error_class = $2)
  AND ($3::timestamptz IS NULL OR f.failed_at >= $3) AND ($4::timestamptz IS NULL OR f.failed_at < $4)
  AND ($5::uuid IS NULL OR f.notification_id = $5)
  AND ($6 OR f.redriven_at IS NULL AND f.discarded_at IS NULL)
  AND ($7::timestamptz IS NULL OR (f.failed_at, f.id) < ($7, $8::uuid))
ORDER BY f.failed_at DESC, f.id DESC
LIMIT $9

-- name: dead__count_dead
SELECT f.channel, f.error_class, count(*) AS letters
FROM notify.notifications_failed f
WHERE -- No statement but a condition, put where the others say {filter}.
($1::text IS NULL OR f.channel = $1) AND ($2::text IS NULL OR f.error_class = $2)
  AND ($3::timestamptz IS NULL OR f.failed_at >= $3) AND ($4::timestamptz IS NULL OR f.failed_at < $4)
  AND ($5::uuid IS NULL OR f.notification_id = $5)
  AND ($6 OR f.redriven_at IS NULL AND f.discarded_at IS NULL)
GROUP BY f.channel, f.error_class
ORDER BY f.channel, f.error_class

-- name: dead__pick_dead
SELECT f.id, f.notification_id, f.channel, f.raw IS NOT NULL AND f.notification_id IS NULL AS undecodable,
       f.redriven_at IS NOT NULL AS redriven, f.discarded_at IS NOT NULL AS discarded, d.status,
       n.canceled_at IS NOT NULL AS canceled, coalesce(n.expires_at <= clock_timestamp(), false) AS expired
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
LEFT JOIN notify.deliveries d ON d.notification_id = f.notification_id AND d.channel = f.channel
WHERE CASE WHEN $7::uuid[] IS NOT NULL THEN f.id = ANY ($7) ELSE -- No statement but a condition, put where the others say {filter}.
($1::text IS NULL OR f.channel = $1) AND ($2::text IS NULL OR f.error_class = $2)
  AND ($3::timestamptz IS NULL OR f.failed_at >= $3) AND ($4::timestamptz IS NULL OR f.failed_at < $4)
  AND ($5::uuid IS NULL OR f.notification_id = $5)
  AND ($6 OR f.redriven_at IS NULL AND f.discarded_at IS NULL) END
ORDER BY f.failed_at, f.id
LIMIT $8
FOR NO KEY UPDATE OF f SKIP LOCKED

-- name: dead__redrive
SELECT notification_id, channel FROM notify.redrive($1, $2)

-- name: dead__discard
SELECT notify.discard($1)

-- name: dead__unmirrored
SELECT f.id, f.notification_id, n.event_type, f.channel, f.error_class, f.reason, f.attempts, f.failed_at
FROM notify.notifications_failed f
LEFT JOIN notify.notifications n ON n.id = f.notification_id
WHERE f.mirrored_at IS NULL
ORDER BY f.failed_at, f.id
LIMIT $1
FOR NO KEY UPDATE OF f SKIP LOCKED

-- name: dead__mark_mirrored
UPDATE notify.notifications_failed SET mirrored_at = clock_timestamp() WHERE id = ANY ($1::uuid[])

-- name: delivery__claim
WITH entry AS (
  SELECT e.id, e.attempt FROM unnest($2::uuid[], $3::smallint[]) AS e (id, attempt)
), claimed AS (
  INSERT INTO notify.deliveries AS d (notification_id, channel, status, attempts, attempts_allowed,
                                      lease_token, lease_until, worker, claimed_at)
  SELECT e.id, $1, 'sending', e.attempt + 1, c.max_attempts,
         $4, clock_timestamp() + make_interval(secs => $5), $6, clock_timestamp()
  FROM entry e
  JOIN notify.notifications n ON n.id = e.id
  JOIN notify.channels c ON c.name = $1
  ORDER BY e.id
  ON CONFLICT (notification_id, channel) DO UPDATE SET
    status = 'sending',
    attempts = d.attempts + CASE WHEN d.status = 'sending' AND d.lease_token = $4 THEN 0 ELSE 1 END,
    lease_token = excluded.lease_token, lease_until = excluded.lease_until,
    worker = excluded.worker, claimed_at = excluded.claimed_at
  WHERE (d.status IN ('pending', 'retrying', 'deferred') AND d.attempts + d.deferrals = excluded.attempts - 1)
     OR (d.status = 'sending' AND (d.lease_until < clock_timestamp() OR d.lease_token = $4))
  RETURNING d.notification_id, d.attempts, d.attempts_allowed, d.attempts + d.deferrals AS turn
), known AS (
  SELECT e.id, e.attempt, n.user_id, n.event_type, n.template_name, n.canceled_at, n.expires_at,
         n.is_digest, n.escalate_channels,
         p.status AS prior_status, p.attempts + p.deferrals AS prior_turn, p.worker AS prior_worker,
         k.attempts, k.attempts_allowed, k.turn > e.attempt + 1 AS taken_over
  FROM entry e
  LEFT JOIN notify.notifications n ON n.id = e.id
  LEFT JOIN notify.deliveries p ON p.notification_id = e.id AND p.channel = $1
  LEFT JOIN claimed k ON k.notification_id = e.id
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT id, $1, 'taken_over', attempts - 1, jsonb_build_object('from', prior_worker, 'by', $6::text)
  FROM known WHERE taken_over
)
SELECT k.id, k.user_id IS NOT NULL AS known, k.prior_status, k.prior_turn,
       k.attempts, k.attempts_allowed, coalesce(k.taken_over, false) AS taken_over,
       k.canceled_at IS NOT NULL AS canceled, coalesce(k.expires_at <= clock_timestamp(), false) AS expired,
       c.enabled, c.version, c.on_unknown, coalesce(wish.enabled, true) AS wanted,
       r.contact, r.locale, r.time_zone, s.reason AS suppressed, t.template,
       wish.constraints, r.quiet_hours, coalesce(k.is_digest, false) AS is_digest, coalesce(seen.it, false) AS seen
FROM known k
LEFT JOIN notify.channels c ON c.name = $1
LEFT JOIN LATERAL (
  SELECT (array_agg(p.enabled))[1] AS enabled,
         json_agg(json_build_array(p.event_type, p.constraints)) FILTER (WHERE p.constraints <> '{}') AS constraints
  FROM (SELECT u.event_type, u.enabled, u.constraints FROM notify.user_channel_prefs u
        WHERE u.user_id = k.user_id AND u.channel = $1
          AND (u.event_type = k.event_type
               OR right(u.event_type, 1) = '*' AND starts_with(k.event_type, rtrim(u.event_type, '*')))
        ORDER BY length(rtrim(u.event_type, '*')) DESC) p
) wish ON true
LEFT JOIN LATERAL (
  SELECT CASE c.kind WHEN 'email' THEN a.email WHEN 'sms' THEN a.phone END AS contact, a.locale, a.time_zone,
         a.quiet_hours
  FROM notify.recipients a WHERE ($7 OR wish.constraints IS NOT NULL) AND a.user_id = k.user_id OFFSET 0
) r ON true
LEFT JOIN LATERAL (
  SELECT x.reason FROM notify.suppressions x WHERE $7 AND x.channel = $1 AND x.address = lower(r.contact)
  UNION ALL  -- of those who were erased
  SELECT v.reason FROM notify.veiled_suppressions v
  WHERE $7 AND v.channel = $1
    AND v.veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), $1, lower(r.contact))
  LIMIT 1
) s ON true
LEFT JOIN LATERAL (
  SELECT x.id || '/' || x.xmin AS template  -- xmin: a row changed in place is another template
  FROM notify.templates x
  WHERE $7 AND x.channel = $1
    AND x.name IN (coalesce(k.template_name, k.event_type), coalesce(k.template_name, 'default'))
    AND x.locale IN ('', coalesce(r.locale, ''), split_part(coalesce(r.locale, ''), '-', 1))
  ORDER BY x.name = coalesce(k.template_name, k.event_type) DESC, length(x.locale) DESC, x.version DESC
  LIMIT 1
) t ON true
LEFT JOIN LATERAL (
  SELECT b.read_at IS NOT NULL OR b.archived_at IS NOT NULL AS it
  FROM notify.inbox b WHERE $1 = ANY (k.escalate_channels) AND b.notification_id = k.id OFFSET 0
) seen ON true

-- name: delivery__settle
WITH result AS (
  SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::text[], $11::text[])
    AS r (id, token, status, attempts, event, error_class, reason, message_id, detail, provider)
), mine AS (
  SELECT d.notification_id, r.token, d.status = 'sending' AS open
  FROM result r
  JOIN notify.deliveries d ON d.notification_id = r.id AND d.channel = $1 AND d.lease_token = r.token
  ORDER BY d.notification_id
  FOR NO KEY UPDATE OF d
), settled AS (
  UPDATE notify.deliveries d SET
    status = r.status, attempts = r.attempts, deferrals = d.deferrals + (r.status = 'deferred')::int, lease_until = NULL, error_class = r.error_class, reason = r.reason,
    provider = coalesce(r.provider, d.provider),
    provider_message_id = coalesce(r.message_id, d.provider_message_id),
    settled_at = CASE WHEN r.status NOT IN ('retrying', 'deferred') THEN clock_timestamp() END
  FROM mine m JOIN result r ON r.id = m.notification_id AND r.token = m.token
  WHERE m.open AND d.notification_id = m.notification_id AND d.channel = $1
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT r.id, $1, r.event, r.attempts, r.detail::jsonb
  FROM mine m JOIN result r ON r.id = m.notification_id AND r.token = m.token WHERE m.open AND r.event <> ''
)
SELECT notification_id, token, open FROM mine

-- name: delivery__schedule_retries
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
SELECT coalesce(r.until, clock_timestamp() + make_interval(secs => r.delay)), r.id, ARRAY[$1::text],
       d.attempts + d.deferrals, r.reason
FROM unnest($2::uuid[], $3::float8[], $4::timestamptz[], $5::text[]) AS r (id, delay, until, reason)
JOIN notify.deliveries d ON d.notification_id = r.id AND d.channel = $1

-- name: delivery__bury
INSERT INTO notify.notifications_failed (notification_id, channel, attempts, error_class, reason, stream, entry_id)
SELECT r.id, $1, r.attempts, r.error_class, r.reason, $2, r.entry_id
FROM unnest($3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::text[])
  AS r (id, attempts, error_class, reason, entry_id)

-- name: delivery__bury_undecodable
WITH entry AS (
  SELECT e.entry_id, e.reason, e.raw, e.attempt, n.id,
         coalesce(d.status = 'sending' AND d.lease_until >= clock_timestamp(), false) AS held
  FROM unnest($3::text[], $4::text[], $5::bytea[], $6::uuid[], $7::smallint[])
    AS e (entry_id, reason, raw, notification_id, attempt)
  LEFT JOIN notify.notifications n ON n.id = e.notification_id
  LEFT JOIN notify.deliveries d ON d.notification_id = n.id AND d.channel = $1
), buried AS (
  INSERT INTO notify.notifications_failed
    (notification_id, channel, attempts, error_class, reason, stream, entry_id, raw)
  SELECT id, $1, attempt, 'undecodable', reason, $2, entry_id, raw FROM entry WHERE NOT held
  ON CONFLICT (stream, entry_id) WHERE raw IS NOT NULL DO NOTHING
  RETURNING notification_id, attempts, error_class, reason
), failed AS (
  INSERT INTO notify.deliveries AS d (notification_id, channel, status, attempts, attempts_allowed,
                                      error_class, reason, settled_at)
  SELECT DISTINCT ON (b.notification_id) b.notification_id, $1, 'failed', b.attempts, c.max_attempts,
         b.error_class, b.reason, clock_timestamp()
  FROM buried b JOIN notify.channels c ON c.name = $1
  WHERE b.notification_id IS NOT NULL
  ORDER BY b.notification_id
  ON CONFLICT (notification_id, channel) DO UPDATE SET
    status = 'failed', lease_token = NULL, lease_until = NULL,
    error_class = excluded.error_class, reason = excluded.reason, settled_at = excluded.settled_at
  WHERE (d.status IN ('pending', 'retrying', 'deferred') AND d.attempts + d.deferrals = excluded.attempts)
     OR (d.status = 'sending' AND d.lease_until < clock_timestamp())
  RETURNING d.notification_id, d.attempts, d.error_class, d.reason
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT notification_id, $1, 'failed', attempts,
         jsonb_build_object('error_class', error_class, 'reason', reason) FROM failed
)
SELECT entry_id FROM entry WHERE held

-- name: delivery__give_back
WITH mine AS (
  SELECT d.notification_id, d.attempts - 1 AS attempts, d.attempts + d.deferrals > r.attempt + 1 AS taken_over
  FROM unnest($2::uuid[], $3::uuid[], $4::smallint[]) AS r (id, token, attempt)
  JOIN notify.deliveries d ON d.notification_id = r.id AND d.channel = $1 AND d.lease_token = r.token
  WHERE d.status = 'sending'
  ORDER BY d.notification_id
  FOR NO KEY UPDATE OF d
)
UPDATE notify.deliveries d SET
  status = CASE WHEN m.taken_over THEN 'sending' WHEN m.attempts > 0 THEN 'retrying' ELSE 'pending' END,
  attempts = m.attempts, lease_token = NULL, lease_until = CASE WHEN m.taken_over THEN clock_timestamp() END
FROM mine m WHERE d.notification_id = m.notification_id AND d.channel = $1

-- name: delivery__settle_in_inbox
WITH mine AS MATERIALIZED (
  SELECT d.notification_id, r.user_id, r.attempts, r.place, d.status = 'sending' AS open
  FROM unnest($2::uuid[], $3::uuid[], $4::smallint[], $5::text[]) WITH ORDINALITY
    AS r (id, token, attempts, user_id, place)
  JOIN notify.deliveries d ON d.notification_id = r.id AND d.channel = $1 AND d.lease_token = r.token
  ORDER BY d.notification_id
  FOR NO KEY UPDATE OF d
), settled AS (
  UPDATE notify.deliveries d SET
    status = 'delivered', attempts = m.attempts, lease_until = NULL, error_class = NULL, reason = NULL,
    settled_at = clock_timestamp()
  FROM mine m WHERE m.open AND d.notification_id = m.notification_id AND d.channel = $1
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt)
  SELECT notification_id, $1, 'delivered', attempts FROM mine WHERE open
), item AS MATERIALIZED (
  SELECT m.*, m.open AND b.notification_id IS NULL AS fresh
  FROM mine m LEFT JOIN notify.inbox b ON b.notification_id = m.notification_id
), counter AS (
  INSERT INTO notify.inbox_counters AS c (user_id, last_seq, unread, version)
  SELECT user_id, count(*), count(*), count(*) FROM item WHERE fresh GROUP BY user_id ORDER BY user_id
  ON CONFLICT (user_id) DO UPDATE SET
    last_seq = c.last_seq + excluded.last_seq, unread = c.unread + excluded.unread, version = c.version + excluded.version
  RETURNING user_id, last_seq, unread, version
), placed AS MATERIALIZED (
  SELECT user_id, notification_id, place, open, fresh, clock_timestamp() AS delivered_at,
         count(*) FILTER (WHERE fresh) OVER (later ROWS UNBOUNDED PRECEDING) - 1 AS behind,
         max(last_seq) OVER (PARTITION BY user_id) AS last_seq,
         max(unread) OVER (PARTITION BY user_id) AS unread,
         max(version) OVER (PARTITION BY user_id) AS version
  FROM (SELECT user_id, notification_id, place, open, fresh, NULL AS last_seq, NULL AS unread, NULL AS version FROM item
        UNION ALL
        SELECT user_id, NULL, 0, false, false, last_seq, unread, version FROM counter) rows
  WINDOW later AS (PARTITION BY user_id ORDER BY place DESC)
), stored AS (
  INSERT INTO notify.inbox (user_id, seq, notification_id, delivered_at)
  SELECT user_id, last_seq - behind, notification_id, delivered_at FROM placed WHERE fresh
)
SELECT place, open, CASE WHEN fresh THEN last_seq - behind END AS seq, unread - behind AS unread,
       version - behind AS version, delivered_at
FROM placed WHERE place > 0
ORDER BY place

-- name: delivery__inbox_counts
SELECT user_id, last_seq, unread, version FROM notify.inbox_counters WHERE user_id = ANY ($1::text[])

-- name: delivery__channel_config
SELECT version, config FROM notify.channels WHERE name = $1

-- name: demo__add_recipient
INSERT INTO notify.recipients AS r (user_id, email, phone) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone WHERE r.phone IS NULL AND r.email = excluded.email

-- name: demo__add_devices
INSERT INTO notify.device_tokens (user_id, platform, token)
SELECT $1, d.platform, d.token FROM unnest($2::text[], $3::text[]) AS d (platform, token)
WHERE NOT EXISTS (SELECT FROM notify.device_tokens t WHERE t.user_id = $1)
ON CONFLICT DO NOTHING

-- name: demo__lead_to_double
UPDATE notify.channels SET config = $3::jsonb WHERE name = $1 AND config = $2::jsonb

-- name: erasure__request
INSERT INTO notify.erasures AS e (subject, user_id, addresses) VALUES ($1, $2, $3)
ON CONFLICT (subject) WHERE finished_at IS NULL DO UPDATE SET
  addresses = ARRAY(SELECT unnest(e.addresses) UNION SELECT unnest(excluded.addresses))
RETURNING -- No statement but columns, put where the others say {erasure}.
id, subject, user_id, addresses, round, stage, place, erased, requested_at, finished_at

-- name: erasure__find
SELECT -- No statement but columns, put where the others say {erasure}.
id, subject, user_id, addresses, round, stage, place, erased, requested_at, finished_at FROM notify.erasures WHERE id = $1

-- name: erasure__take
UPDATE notify.erasures SET lease_token = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = (
  SELECT id FROM notify.erasures
  WHERE finished_at IS NULL AND due_at <= clock_timestamp() AND ($3::uuid IS NULL OR id = $3)
    AND (lease_token IS NULL OR lease_token = $1 OR lease_until < clock_timestamp())
  ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING -- No statement but columns, put where the others say {erasure}.
id, subject, user_id, addresses, round, stage, place, erased, requested_at, finished_at

-- name: erasure__advance
UPDATE notify.erasures SET
  round = $3, stage = $4, place = $5,
  erased = (SELECT coalesce(jsonb_object_agg(key, rows), '{}')
            FROM (SELECT key, sum(value::bigint) AS rows
                  FROM (SELECT * FROM jsonb_each_text(erased) UNION ALL SELECT * FROM jsonb_each_text($6::text::jsonb)) e
                  GROUP BY key) s WHERE rows > 0),
  due_at = clock_timestamp() + make_interval(secs => $7)
WHERE id = $1 AND lease_token = $2
RETURNING id

-- name: erasure__finish
UPDATE notify.erasures SET
  finished_at = clock_timestamp(), user_id = NULL, addresses = NULL, place = NULL, lease_token = NULL, lease_until = NULL
WHERE id = $1 AND lease_token = $2
RETURNING id

-- name: erasure__limit_waits
SET LOCAL lock_timeout = '2s'

-- name: erasure__pick
SELECT id FROM notify.notifications WHERE user_id = $1 ORDER BY created_at, id LIMIT $2

-- name: erasure__lock_deliveries
SELECT FROM notify.deliveries WHERE notification_id = ANY ($1::uuid[]) ORDER BY notification_id, channel FOR UPDATE

-- name: erasure__lock_digests
SELECT FROM notify.digests WHERE user_id = $1 AND closed_at IS NULL ORDER BY user_id, key FOR UPDATE

-- name: erasure__lock_inbox
SELECT FROM notify.inbox_counters WHERE user_id = $1 FOR UPDATE

-- name: erasure__erase_notifications
WITH gone (id) AS (SELECT unnest($1::uuid[])),
a AS (DELETE FROM notify.scheduled USING gone WHERE notification_id = gone.id RETURNING 1),
b AS (DELETE FROM notify.delivery_events USING gone WHERE notification_id = gone.id RETURNING 1),
c AS (DELETE FROM notify.notifications_failed USING gone WHERE notification_id = gone.id RETURNING 1),
d AS (DELETE FROM notify.inbox USING gone WHERE notification_id = gone.id RETURNING 1),
e AS (DELETE FROM notify.provider_events USING gone WHERE notification_id = gone.id RETURNING 1),
f AS (DELETE FROM notify.sms_messages USING gone WHERE notification_id = gone.id RETURNING 1),
g AS (DELETE FROM notify.push_attempts USING gone WHERE notification_id = gone.id RETURNING 1),
h AS (DELETE FROM notify.endpoint_queue USING gone WHERE notification_id = gone.id RETURNING 1),
i AS (DELETE FROM notify.cap_slots USING gone WHERE notification_id = gone.id RETURNING 1),
j AS (DELETE FROM notify.digest_items USING gone WHERE notification_id = gone.id RETURNING 1),
k AS (DELETE FROM notify.deliveries USING gone WHERE notification_id = gone.id RETURNING 1),
l AS (DELETE FROM notify.digests USING gone WHERE digests.id = gone.id RETURNING 1),
m AS (DELETE FROM notify.notifications USING gone WHERE notifications.id = gone.id RETURNING 1)
SELECT jsonb_build_object(
  'scheduled', (SELECT count(*) FROM a), 'delivery_events', (SELECT count(*) FROM b),
  'notifications_failed', (SELECT count(*) FROM c), 'inbox', (SELECT count(*) FROM d),
  'provider_events', (SELECT count(*) FROM e), 'sms_messages', (SELECT count(*) FROM f),
  'push_attempts', (SELECT count(*) FROM g), 'endpoint_queue', (SELECT count(*) FROM h),
  'cap_slots', (SELECT count(*) FROM i), 'digest_items', (SELECT count(*) FROM j),
  'deliveries', (SELECT count(*) FROM k), 'digests', (SELECT count(*) FROM l), 'notifications', (SELECT count(*) FROM m))

-- name: erasure__lock_notifications
SELECT FROM notify.notifications WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE

-- name: erasure__erase_person
WITH person AS (
  DELETE FROM notify.recipients WHERE user_id = $1 RETURNING email, phone
), address (address) AS (
  SELECT lower(a) FROM unnest($2::text[]) AS a
  UNION SELECT lower(email) FROM person WHERE email IS NOT NULL
  UNION SELECT phone FROM person WHERE phone IS NOT NULL
), suppressed AS (
  DELETE FROM notify.suppressions s USING address a, notify.channels c
  WHERE s.channel = c.name AND s.address = a.address
  RETURNING s.channel, s.address, s.reason, s.created_at
), veiled AS (
  INSERT INTO notify.veiled_suppressions (channel, veil, reason, created_at)
  SELECT s.channel, notify.veil((SELECT key FROM notify.veil_key WHERE one), s.channel, s.address), s.reason, s.created_at
  FROM suppressed s
  ON CONFLICT DO NOTHING
), remembered AS (  -- for the second round: somebody may complain in between
  UPDATE notify.erasures SET addresses = ARRAY(SELECT address FROM address) WHERE id = $3
), a AS (DELETE FROM notify.device_tokens WHERE user_id = $1 RETURNING 1),
b AS (DELETE FROM notify.user_channel_prefs WHERE user_id = $1 RETURNING 1),
c AS (DELETE FROM notify.caps WHERE user_id = $1 RETURNING 1),
d AS (DELETE FROM notify.digests WHERE user_id = $1 AND closed_at IS NULL RETURNING 1),
e AS (DELETE FROM notify.webhook_endpoints e USING notify.channels c WHERE e.channel = c.name AND user_id = $1 RETURNING 1),
f AS (DELETE FROM notify.endpoint_queue q USING notify.channels c WHERE q.channel = c.name AND endpoint = $1 RETURNING 1),
g AS (DELETE FROM notify.endpoint_turns t USING notify.channels c WHERE t.channel = c.name AND endpoint = $1 RETURNING 1),
h AS (DELETE FROM notify.inbox WHERE user_id = $1 RETURNING 1),
i AS (DELETE FROM notify.inbox_counters WHERE user_id = $1 RETURNING 1)
SELECT jsonb_build_object(
  'recipients', (SELECT count(*) FROM person), 'suppressions', (SELECT count(*) FROM suppressed),
  'device_tokens', (SELECT count(*) FROM a), 'user_channel_prefs', (SELECT count(*) FROM b),
  'caps', (SELECT count(*) FROM c), 'digests', (SELECT count(*) FROM d),
  'webhook_endpoints', (SELECT count(*) FROM e), 'endpoint_queue', (SELECT count(*) FROM f),
  'endpoint_turns', (SELECT count(*) FROM g), 'inbox', (SELECT count(*) FROM h),
  'inbox_counters', (SELECT count(*) FROM i))

-- name: erasure__forget_actor
WITH named AS (
  UPDATE notify.notifications SET actor_user_id = NULL
  WHERE id = ANY (ARRAY(SELECT id FROM notify.notifications WHERE actor_user_id = $1 ORDER BY id LIMIT $2
                        FOR NO KEY UPDATE))
  RETURNING 1)
SELECT count(*) FROM named

-- name: erasure__forget_maker_of_keys
UPDATE notify.api_keys SET created_by = $2 WHERE created_by = $1

-- name: erasure__forget_in_audit_log
SELECT notify.audit_forget_actor($1, $2)

-- name: erasure__undecodable
SELECT id, raw FROM notify.notifications_failed
WHERE raw IS NOT NULL AND notification_id IS NULL AND ($1::uuid IS NULL OR id > $1)
ORDER BY id LIMIT $2

-- name: erasure__erase_letters
DELETE FROM notify.notifications_failed WHERE id = ANY ($1::uuid[])

-- name: erasure__log_edge
SELECT xid FROM notify.outbox WHERE xid >= $1 ORDER BY xid, id OFFSET $2 LIMIT 1

-- name: erasure__erase_log
DELETE FROM notify.outbox WHERE xid >= $1 AND xid < $2 AND user_id = $3

-- name: erasure__forget_actor_in_log
SELECT notify.outbox_forget_actor($1, $2, $3)

-- name: erasure__reissue
INSERT INTO notify.outbox
  (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
   created_at, deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels,
   attempt, origin)
SELECT n.id, n.event_type, n.user_id, n.actor_user_id, ARRAY[$1::text], n.payload, n.template_name, n.dedup_key,
       n.priority, n.created_at, n.deliver_at, n.expires_at, n.traceparent, n.digest_key,
       n.digest_window, n.escalate_after, n.escalate_channels, e.attempt, 'schedule'
FROM unnest($2::uuid[], $3::smallint[]) WITH ORDINALITY AS e (id, attempt, turn)
JOIN notify.notifications n ON n.id = e.id
WHERE NOT EXISTS (
  SELECT FROM notify.deliveries d
  WHERE d.notification_id = e.id AND d.channel = $1
    AND (d.status NOT IN ('pending', 'sending', 'retrying', 'deferred')
         OR d.status <> 'sending' AND d.attempts + d.deferrals > e.attempt))
ORDER BY e.turn

-- name: erasure__gone
SELECT l.place::integer
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS l (id, notification_id, place)
LEFT JOIN notify.notifications n ON n.id = l.notification_id
LEFT JOIN notify.notifications_failed f ON f.id = l.id
WHERE CASE WHEN l.notification_id IS NULL THEN f.id IS NULL ELSE n.id IS NULL END

-- name: export__person
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

-- name: export__notifications
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

-- name: export__acted
SELECT n.id, jsonb_build_object('id', n.id, 'event_type', n.event_type, 'created_at', n.created_at)::text AS document
FROM notify.notifications n
WHERE n.actor_user_id = $1 AND ($2::uuid IS NULL OR n.id > $2)
ORDER BY n.id LIMIT $3

-- name: inbox__counters
SELECT last_seq, unread, version FROM notify.inbox_counters WHERE user_id = $1

-- name: inbox__versions
SELECT user_id, version FROM notify.inbox_counters WHERE user_id = ANY ($1::text[])

-- name: inbox__items
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM notify.inbox i JOIN notify.notifications n ON n.id = i.notification_id
WHERE i.user_id = $1 AND i.seq > $2 AND i.seq <= $3
ORDER BY i.seq LIMIT $4

-- name: inbox__latest
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM (SELECT * FROM notify.inbox
      WHERE user_id = $1 AND seq > $2 AND seq <= $3 AND archived_at IS NULL ORDER BY seq DESC LIMIT $4) i
JOIN notify.notifications n ON n.id = i.notification_id
ORDER BY i.seq DESC

-- name: inbox__marks
SELECT seq, read_at IS NOT NULL AS read, archived_at IS NOT NULL AS archived
FROM notify.inbox
WHERE user_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq

-- name: inbox__lock
SELECT last_seq, unread, version FROM notify.inbox_counters WHERE user_id = $1 FOR NO KEY UPDATE

-- name: inbox__mark_read
UPDATE notify.inbox SET read_at = clock_timestamp()
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND read_at IS NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: inbox__mark_read_up_to
UPDATE notify.inbox SET read_at = clock_timestamp()
WHERE user_id = $1 AND seq <= $2 AND read_at IS NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: inbox__mark_unread
UPDATE notify.inbox SET read_at = NULL
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND read_at IS NOT NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: inbox__archive
UPDATE notify.inbox SET archived_at = clock_timestamp()
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND archived_at IS NULL
RETURNING seq, read_at IS NULL AS counts

-- name: inbox__archive_up_to
UPDATE notify.inbox SET archived_at = clock_timestamp()
WHERE user_id = $1 AND seq <= $2 AND archived_at IS NULL
RETURNING seq, read_at IS NULL AS counts

-- name: inbox__unarchive
UPDATE notify.inbox SET archived_at = NULL
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND archived_at IS NOT NULL
RETURNING seq, read_at IS NULL AS counts

-- name: inbox__recount
UPDATE notify.inbox_counters SET unread = unread + $2, version = version + 1
WHERE user_id = $1
RETURNING last_seq, unread, version

-- name: inbox_pages__below
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM (SELECT * FROM notify.inbox
      WHERE user_id = $1 AND seq > $2 AND seq < $3
        AND CASE WHEN $4 THEN archived_at IS NOT NULL ELSE archived_at IS NULL END
        AND CASE $5::boolean WHEN true THEN read_at IS NULL WHEN false THEN read_at IS NOT NULL ELSE true END
      ORDER BY seq DESC LIMIT $6) i
JOIN notify.notifications n ON n.id = i.notification_id
ORDER BY i.seq DESC

-- name: inbox_pages__counts
SELECT c.last_seq, c.unread, c.version, (SELECT count(*) FROM notify.inbox i WHERE i.user_id = c.user_id) AS total
FROM notify.inbox_counters c WHERE c.user_id = $1

-- name: inbox_pages__seqs
SELECT i.seq
FROM unnest($2::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (SELECT seq, user_id FROM notify.inbox WHERE notification_id = wanted.id OFFSET 0) i
WHERE i.user_id = $1

-- name: intake__accept
SELECT place, first_id, fault
FROM notify.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)

-- name: keys__add
INSERT INTO notify.api_keys (id, name, hash, scopes, event_types, channels, rate, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: keys__presented
SELECT id, hash, scopes, event_types, channels, rate, expires_at, revoked_at FROM notify.api_keys WHERE id = $1

-- name: keys__key
SELECT id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
       version
FROM notify.api_keys WHERE id = $1

-- name: keys__page
SELECT id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
       version
FROM notify.api_keys
WHERE ($1::text IS NULL OR (created_at, id) < (SELECT c.created_at, c.id FROM notify.api_keys c WHERE c.id = $1))
  AND ($3 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())))
ORDER BY created_at DESC, id DESC LIMIT $2

-- name: keys__change
UPDATE notify.api_keys SET
  name = $3, scopes = $4, event_types = $5, channels = $6, rate = $7, expires_at = $8, version = version + 1
WHERE id = $1 AND version = coalesce($2, version) AND revoked_at IS NULL
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: keys__revoke
UPDATE notify.api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1 AND revoked_at IS NULL
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: keys__touch
UPDATE notify.api_keys k SET last_used_at = now()
FROM (SELECT id FROM notify.api_keys WHERE id = ANY ($1::text[])
        AND (last_used_at IS NULL OR last_used_at < now() - interval '50 seconds')
      ORDER BY id FOR NO KEY UPDATE) AS used
WHERE k.id = used.id

-- name: notifications__ids_of_keys
SELECT dedup_key, id FROM notify.notifications WHERE dedup_key = ANY ($1::text[])

-- name: notifications__known_channels
SELECT name FROM notify.channels ORDER BY name

-- name: notifications__known_templates
SELECT DISTINCT name FROM notify.templates WHERE name = ANY ($1::text[])

-- name: notifications__ping
SELECT

-- name: notifications__status
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

-- name: notifications__lock_open_digests
SELECT i.channel FROM notify.digest_items i JOIN notify.digests g ON g.id = i.digest_id
WHERE i.notification_id = $1 AND g.closed_at IS NULL
ORDER BY g.id FOR NO KEY UPDATE OF g

-- name: notifications__cancel
SELECT channel, status, stopped FROM notify.cancel($1)

-- name: notifications__canceled_at
SELECT canceled_at FROM notify.notifications WHERE id = $1

-- name: notifications__settle_canceled
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

-- name: preferences__of_user
SELECT channel, event_type, enabled, constraints, updated_at
FROM notify.user_channel_prefs WHERE user_id = $1 ORDER BY channel, event_type

-- name: preferences__put
INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled, constraints)
SELECT $1, p.channel, p.event_type, p.enabled, p.constraints::jsonb
FROM unnest($2::text[], $3::text[], $4::boolean[], $5::text[]) AS p (channel, event_type, enabled, constraints)
ORDER BY p.channel, p.event_type
ON CONFLICT (user_id, channel, event_type) DO UPDATE SET
  enabled = excluded.enabled, constraints = excluded.constraints, updated_at = clock_timestamp()

-- name: preferences__keep_only
DELETE FROM notify.user_channel_prefs u
WHERE u.user_id = $1
  AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS p (channel, event_type)
                  WHERE p.channel = u.channel AND p.event_type = u.event_type)

-- name: preferences__lock_user
SELECT pg_advisory_xact_lock(hashtextextended($1, 1869967472))

-- name: producer__insert
WITH accepted AS (
  INSERT INTO notify.outbox (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name,
                             dedup_key, priority, deliver_at, expires_at, traceparent, digest_key, digest_window,
                             escalate_after, escalate_channels)
  VALUES (CAST($1 AS text)::uuid, $2, $3, $4, CAST($5 AS text)::text[], CAST($6 AS text)::jsonb, $7, $8, $9,
          CAST($10 AS text)::timestamptz, CAST($11 AS text)::timestamptz, $12, $13, CAST($14 AS text)::integer,
          CAST($15 AS text)::integer, CAST($16 AS text)::text[])
  RETURNING 1
)
SELECT count(*) AS rows, current_setting('notify.last_id', true) AS last_id FROM accepted

-- name: producer__insert_many
INSERT INTO notify.outbox (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name,
                           dedup_key, priority, deliver_at, expires_at, traceparent, digest_key, digest_window,
                           escalate_after, escalate_channels)
SELECT r.notification_id::uuid, r.event_type, r.user_id, r.actor_user_id, r.channels::text[], r.payload::jsonb,
       r.template_name, r.dedup_key, r.priority, r.deliver_at::timestamptz, r.expires_at::timestamptz, r.traceparent,
       r.digest_key, r.digest_window::integer, r.escalate_after::integer, r.escalate_channels::text[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
  AS r (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
        deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)

-- name: push__devices
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

-- name: push__record
INSERT INTO notify.push_attempts AS p
  (notification_id, channel, device_id, status, attempt, provider, message_id, error_class, reason)
SELECT r.notification_id, $1, r.device_id, r.status, r.attempt, r.provider, r.message_id, r.error_class, r.reason
FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::text[])
  AS r (notification_id, device_id, status, attempt, provider, message_id, error_class, reason)
ON CONFLICT (notification_id, channel, device_id) DO UPDATE SET
  status = excluded.status, attempt = excluded.attempt, provider = excluded.provider,
  message_id = excluded.message_id, error_class = excluded.error_class, reason = excluded.reason, at = excluded.at
WHERE p.status <> 'delivered'

-- name: push__forget
DELETE FROM notify.device_tokens t USING (
  SELECT d.id FROM unnest($1::uuid[], $2::timestamptz[]) AS g (id, registered_at)
  JOIN notify.device_tokens d ON d.id = g.id AND d.registered_at = g.registered_at
  FOR UPDATE OF d SKIP LOCKED
) gone WHERE t.id = gone.id

-- name: push__register
INSERT INTO notify.device_tokens AS d (user_id, platform, token, registered_at)
VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (platform, token) DO UPDATE SET user_id = excluded.user_id, registered_at = excluded.registered_at
RETURNING d.id, d.platform, d.token, d.registered_at

-- name: push__prune
DELETE FROM notify.device_tokens t USING (
  SELECT d.id FROM notify.device_tokens d WHERE d.user_id = $1
  ORDER BY d.registered_at DESC, d.id OFFSET $2 FOR UPDATE SKIP LOCKED
) old WHERE t.id = old.id

-- name: push__unregister
DELETE FROM notify.device_tokens
WHERE user_id = $1 AND platform IN ('fcm', 'apns') AND token = ANY ($2::text[])

-- name: push__unregister_all
DELETE FROM notify.device_tokens WHERE user_id = $1

-- name: push__devices_of
SELECT id, platform, token, registered_at FROM notify.device_tokens
WHERE user_id = $1 ORDER BY registered_at DESC, id LIMIT $2

-- name: recipients__to_ask_for
SELECT u.id AS user_id, r.asked_at IS NOT NULL AS known
FROM unnest($1::text[]) AS u (id)
LEFT JOIN notify.recipients r ON r.user_id = u.id
WHERE r.asked_at IS NULL OR r.asked_at < clock_timestamp() - make_interval(secs => $2)

-- name: recipients__remember
INSERT INTO notify.recipients AS r (user_id, email, phone, locale, time_zone, updated_at, asked_at)
SELECT s.user_id, s.email, s.phone, s.locale, s.time_zone, clock_timestamp(), clock_timestamp()
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
  AS s (user_id, email, phone, locale, time_zone)
ORDER BY s.user_id
ON CONFLICT (user_id) DO UPDATE SET
  email = excluded.email, phone = excluded.phone, locale = excluded.locale, time_zone = excluded.time_zone,
  asked_at = excluded.asked_at,
  updated_at = CASE WHEN (r.email, r.phone, r.locale, r.time_zone)
                         IS DISTINCT FROM (excluded.email, excluded.phone, excluded.locale, excluded.time_zone)
                    THEN excluded.updated_at ELSE r.updated_at END

-- name: recipients__page
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients
WHERE user_id > $1 ORDER BY user_id LIMIT $2

-- name: recipients__one
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients WHERE user_id = $1

-- name: recipients__lock
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients WHERE user_id = $1
FOR NO KEY UPDATE

-- name: recipients__add
INSERT INTO notify.recipients (user_id, email, phone, locale, time_zone, quiet_hours)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
ON CONFLICT (user_id) DO NOTHING
RETURNING user_id, email, phone, locale, time_zone, quiet_hours, updated_at

-- name: recipients__put
INSERT INTO notify.recipients (user_id, email, phone, locale, time_zone, quiet_hours)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
ON CONFLICT (user_id) DO UPDATE SET
  email = excluded.email, phone = excluded.phone, locale = excluded.locale, time_zone = excluded.time_zone,
  quiet_hours = excluded.quiet_hours, updated_at = clock_timestamp()
RETURNING user_id, email, phone, locale, time_zone, quiet_hours, updated_at

-- name: recipients__remove
DELETE FROM notify.recipients WHERE user_id = $1

-- name: recipients__stand_in
INSERT INTO notify.recipients AS r (user_id, email, phone, locale, updated_at, asked_at)
SELECT f.id, CASE $2 WHEN 'email' THEN $1 END, CASE $2 WHEN 'sms' THEN $1 END, $3, clock_timestamp(), 'infinity'
FROM (SELECT 'outbox-test:' || n AS id FROM generate_series(1, 100) n) f
LEFT JOIN notify.recipients r ON r.user_id = f.id
WHERE r.user_id IS NULL OR r.updated_at < clock_timestamp() - interval '1 hour'
ORDER BY random() LIMIT 1
ON CONFLICT (user_id) DO UPDATE SET
  email = excluded.email, phone = excluded.phone, locale = excluded.locale, updated_at = excluded.updated_at
WHERE r.updated_at < clock_timestamp() - interval '1 hour'
RETURNING r.user_id

-- name: recipients__forget_stand_ins
DELETE FROM notify.recipients
WHERE user_id = ANY (ARRAY(SELECT 'outbox-test:' || n FROM generate_series(1, 100) n))
  AND updated_at < clock_timestamp() - interval '1 hour'

-- name: relay__last_ticks
SELECT no, ms, snapshot::text, tops::text, behind, solo, rows, bytes, floor
FROM notify.relay_ticks ORDER BY no DESC LIMIT 2

-- name: relay__look
WITH found AS MATERIALIZED (
  SELECT *
  FROM (SELECT r.*, octet_length(line) AS own,
               sum(octet_length(line)) OVER (ORDER BY xid, id ROWS UNBOUNDED PRECEDING) AS size
        FROM ((SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin,
id || ' ' || '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' || E'\n' AS line
               FROM notify.outbox WHERE xid >= $1 AND id > $5 ORDER BY xid, id LIMIT $3)
              UNION ALL
              (SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin,
id || ' ' || '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' || E'\n' AS line
               FROM unnest($2::xid8[]) AS ended
               CROSS JOIN LATERAL (SELECT * FROM notify.outbox WHERE xid = ended AND id > $5 ORDER BY id LIMIT $3) o
               WHERE pg_visible_in_snapshot(ended, pg_current_snapshot())
               ORDER BY xid, id LIMIT $3)
              ORDER BY xid, id LIMIT $3) r) w
  WHERE size - own <= $4),
edge AS MATERIALIZED (
  SELECT pg_current_snapshot()::text AS seen, count(*) AS found, coalesce(max(size), 0) AS size,
         min(xid) AS oldest, max(xid) AS newest
  FROM found)
SELECT block.*, edge.*
FROM edge LEFT JOIN (
  SELECT min(id) AS first, max(id) AS last, channels, priority, attempt, count(*) AS rows,
textsend(string_agg(line, '' ORDER BY id)) AS lines,
count(*) FILTER (WHERE origin <> 'schedule') AS produced, sum(own) AS bytes FROM found
  WHERE xid < (SELECT newest FROM edge) OR (SELECT edge.found < $3 AND edge.size <= $4 FROM edge)
  GROUP BY id / 64, channels, priority, attempt) block ON true

-- name: relay__insert_tick
INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, behind, solo, rows, bytes, max_id, floor)
SELECT $1, greatest($2::bigint + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
       $3::text::pg_snapshot, $4::jsonb, $5, $6, $7, $8, $9, $10
WHERE NOT EXISTS (SELECT FROM notify.relay_ticks WHERE no >= $1)
ON CONFLICT DO NOTHING
RETURNING ms

-- name: relay__look_and_tick
WITH found AS MATERIALIZED (
  SELECT * FROM (
    (SELECT o.* FROM notify.outbox o WHERE xid >= $3 AND id > $7 LIMIT $8::bigint + 1)
    UNION ALL
    (SELECT o.*
     FROM unnest($4::xid8[]) AS ended
     CROSS JOIN LATERAL (SELECT * FROM notify.outbox WHERE xid = ended AND id > $7 LIMIT $8::bigint + 1) o
     WHERE pg_visible_in_snapshot(ended, pg_current_snapshot()))
  ) r LIMIT $8::bigint + 1
), total AS MATERIALIZED (
  SELECT count(*) AS found, sum(pg_column_size(payload)) AS size, max(id) AS max_id,
         count(*) BETWEEN 1 AND $8 AND sum(pg_column_size(payload)) <= $9
           AND bool_and(xid < pg_snapshot_xmax(pg_current_snapshot())) AS fits
  FROM found
), tick AS (
  INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, behind, rows, bytes, max_id, floor)
  SELECT $1, greatest($2::bigint + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
         pg_current_snapshot(), $5::jsonb, $6, found, size, max_id, $7
  FROM total
  WHERE fits AND NOT EXISTS (SELECT FROM notify.relay_ticks WHERE no >= $1)
  ON CONFLICT DO NOTHING
  RETURNING ms)
SELECT block.*, pg_current_snapshot()::text AS seen, total.found, total.size, fits, ms
FROM total LEFT JOIN tick ON true LEFT JOIN (
  SELECT min(id) AS first, max(id) AS last, channels, priority, attempt, count(*) AS rows,
textsend(string_agg(line, '' ORDER BY id)) AS lines,
count(*) FILTER (WHERE origin <> 'schedule') AS produced FROM (SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin,
id || ' ' || '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' || E'\n' AS line FROM found WHERE EXISTS (SELECT FROM tick)) r GROUP BY id / 64, channels, priority, attempt) block ON true

-- name: relay__tick_rows
SELECT min(id) AS first, max(id) AS last, channels, priority, attempt, count(*) AS rows,
textsend(string_agg(line, '' ORDER BY id)) AS lines,
count(*) FILTER (WHERE origin <> 'schedule') AS produced
FROM (SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin,
id || ' ' || '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' || E'\n' AS line
      FROM (SELECT * FROM notify.outbox WHERE xid >= $1 AND xid < $2 AND id > $5
            UNION ALL
            SELECT * FROM notify.outbox WHERE xid = ANY ($3::xid8[]) AND id > $5) o
      WHERE pg_visible_in_snapshot(xid, $4::text::pg_snapshot)) r
GROUP BY id / 64, channels, priority, attempt

-- name: relay__solo_rows
SELECT min(id) AS first, max(id) AS last, channels, priority, attempt, count(*) AS rows,
textsend(string_agg(line, '' ORDER BY id)) AS lines,
count(*) FILTER (WHERE origin <> 'schedule') AS produced
FROM (SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin,
id || ' ' || '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' || E'\n' AS line FROM notify.outbox WHERE xid = $1 AND id > $2 ORDER BY id LIMIT $3) r
GROUP BY id / 64, channels, priority, attempt

-- name: relay__solo_top
SELECT max(id) FROM notify.outbox WHERE xid = $1

-- name: relay__unsettled_rows
SELECT id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin, '{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}' AS envelope
FROM (SELECT * FROM notify.outbox WHERE xid >= $1 AND xid < $2 AND id > $7
      UNION ALL
      SELECT * FROM notify.outbox WHERE xid = ANY ($3::xid8[]) AND id > $7) r
WHERE pg_visible_in_snapshot(xid, $4::text::pg_snapshot)
  AND $5 = ANY (channels) AND priority = $6
  AND NOT EXISTS (
    SELECT FROM notify.deliveries d
    WHERE d.notification_id = r.notification_id AND d.channel = $5
      AND (d.status NOT IN ('pending', 'sending', 'retrying', 'deferred')
           OR d.status <> 'sending' AND d.attempts + d.deferrals > r.attempt))
ORDER BY id LIMIT $8

-- name: relay__ticks_from
SELECT no, ms, snapshot::text, tops::text, behind, solo, rows, bytes, floor
FROM notify.relay_ticks WHERE no >= $1 - 1 ORDER BY no LIMIT $2

-- name: relay__channel_names
SELECT name FROM notify.channels ORDER BY name

-- name: relay__tick_at
SELECT no, ms FROM notify.relay_ticks WHERE ms <= $1 ORDER BY ms DESC LIMIT 1

-- name: relay__edge_ticks
SELECT (SELECT min(no) FROM notify.relay_ticks) AS first, (SELECT max(ms) FROM notify.relay_ticks) AS last_ms

-- name: relay__promote_due
WITH due AS (
  DELETE FROM notify.scheduled WHERE id = ANY (ARRAY(
    SELECT id FROM notify.scheduled WHERE due_at <= statement_timestamp()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
  RETURNING notification_id, channels, attempt, due_at)
INSERT INTO notify.outbox
  (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
   created_at, deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels,
   attempt, origin)
SELECT n.id, n.event_type, n.user_id, n.actor_user_id, due.channels, n.payload, n.template_name, n.dedup_key,
       n.priority, n.created_at, n.deliver_at, n.expires_at, n.traceparent, n.digest_key,
       n.digest_window, n.escalate_after, n.escalate_channels, due.attempt, 'schedule'
FROM due JOIN notify.notifications n ON n.id = due.notification_id
ORDER BY due.due_at

-- name: relay__next_due
SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM notify.scheduled

-- name: relay__set_flag
SELECT setval('notify.relay_flag', $1)

-- name: relay__read_flag
SELECT pg_sequence_last_value('notify.relay_flag'::regclass)

-- name: relay__new_xid
SELECT pg_current_xact_id()

-- name: relay__xmax_now
SELECT pg_snapshot_xmax(pg_current_snapshot())

-- name: relay__take_lease
INSERT INTO notify.relay_lease AS l (name, holder, epoch, expires_at)
VALUES ('relay', $1, 1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (name) DO UPDATE
  SET holder = excluded.holder, epoch = l.epoch + (l.holder <> excluded.holder)::int, expires_at = excluded.expires_at
  WHERE l.holder = excluded.holder OR l.expires_at < clock_timestamp()
     OR l.expires_at > clock_timestamp() + make_interval(secs => 2 * $2)
RETURNING epoch

-- name: relay__release_lease
WITH freed AS (
  UPDATE notify.relay_lease SET expires_at = '-infinity' WHERE name = 'relay' AND holder = $1 RETURNING name)
SELECT pg_notify('notify_relay', '') FROM freed

-- name: relay__partitions
SELECT c.relname AS name,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\)'))[1]::bigint AS from_id,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''(\d+)''\)'))[1]::bigint AS to_id
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'notify.outbox'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
ORDER BY from_id

-- name: relay__last_id
SELECT coalesce(pg_sequence_last_value('notify.outbox_id_seq'::regclass), 0)

-- name: relay__newest_row_at
SELECT created_at FROM notify.outbox WHERE id >= $1 AND id < $2 ORDER BY xid DESC, id DESC LIMIT 1

-- name: relay__add_partition
SELECT notify.outbox_add_partition($1, $2)

-- name: relay__drop_partition
SELECT notify.outbox_drop_partition($1, $2::text::pg_snapshot)

-- name: relay__prune_default
DELETE FROM notify.outbox_default WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM notify.outbox_default
  WHERE created_at < $1 AND id < $2 AND pg_visible_in_snapshot(xid, $3::text::pg_snapshot) LIMIT 10000))

-- name: relay__delete_ticks
DELETE FROM notify.relay_ticks
WHERE no < (SELECT min(no) - 1 FROM notify.relay_ticks WHERE max_id >= $1)
  AND no < (SELECT max(no) - 1 FROM notify.relay_ticks)

-- name: relay__backlog
SELECT count(*) FROM (
  (SELECT FROM notify.outbox WHERE xid >= $1 AND id > $3 LIMIT 10000)
  UNION ALL
  (SELECT FROM notify.outbox WHERE id > $3 AND xid = ANY (ARRAY(
     SELECT ended FROM unnest($2::xid8[]) AS ended WHERE pg_visible_in_snapshot(ended, pg_current_snapshot())))
   LIMIT 10000)
  LIMIT 10000) r

-- name: reports__take_in
WITH told AS (
  SELECT * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[])
    AS t (event_id, notification_id, channel, event, detail)
), known AS (
  SELECT DISTINCT ON (t.event_id) t.*, d.attempts
  FROM told t JOIN notify.deliveries d ON d.notification_id = t.notification_id AND d.channel = t.channel
  ORDER BY t.event_id
), fresh AS (
  INSERT INTO notify.provider_events (provider, event_id, notification_id)
  SELECT $1, event_id, notification_id FROM known ORDER BY event_id
  ON CONFLICT (provider, event_id) DO NOTHING
  RETURNING event_id
), written AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT k.notification_id, k.channel, k.event, k.attempts, k.detail::jsonb
  FROM known k JOIN fresh f ON f.event_id = k.event_id
)
SELECT event_id FROM fresh

-- name: reports__mails_of
SELECT d.channel, r.email AS address
FROM notify.deliveries d
JOIN notify.channels c ON c.name = d.channel AND c.kind = 'email'
JOIN notify.notifications n ON n.id = d.notification_id
LEFT JOIN notify.recipients r ON r.user_id = n.user_id
WHERE d.notification_id = $1

-- name: rules__channel_rules
SELECT version, retry_base, retry_cap, retry_jitter, retry_deadline, rules FROM notify.channels WHERE name = $1

-- name: rules__take_slots
SELECT s.id, notify.take_slot(s.id, s.user_id, $1, s.scope, s.most, make_interval(secs => s.per)) AS until
FROM (SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::integer[], $6::float8[])
        WITH ORDINALITY AS a (id, user_id, scope, most, per, place)
      ORDER BY user_id, scope, place) s

-- name: rules__collect
WITH item AS (
  SELECT c.id, c.attempt, c.detail, notify.collect(c.id, $1, c.key, c.until) AS digest_id
  FROM (SELECT r.*
        FROM unnest($2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[], $6::text[])
          AS r (id, attempt, key, until, detail)
        JOIN notify.notifications n ON n.id = r.id
        ORDER BY n.user_id, r.key, r.id) c
)
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
SELECT id, $1, 'digested', attempt, detail::jsonb || jsonb_build_object('digest', digest_id) FROM item

-- name: rules__close_digests
WITH mine AS (
  SELECT id FROM notify.digests WHERE id = ANY ($1::uuid[]) ORDER BY user_id, key FOR NO KEY UPDATE
)
UPDATE notify.digests d SET closed_at = coalesce(closed_at, clock_timestamp()) FROM mine WHERE d.id = mine.id

-- name: rules__list_digests
WITH item AS (
  SELECT i.notification_id, i.channel, i.digest_id, n.created_at, i.place, n.payload,
         CASE WHEN n.canceled_at IS NOT NULL THEN 'canceled' WHEN n.expires_at <= g.closed_at THEN 'expired' END AS out
  FROM notify.digests g
  CROSS JOIN LATERAL (SELECT * FROM notify.digest_items x WHERE x.digest_id = g.id AND x.left_out IS NULL OFFSET 0) i
  JOIN notify.notifications n ON n.id = i.notification_id
  WHERE g.id = ANY ($1::uuid[])
), marked AS (
  UPDATE notify.digest_items i SET left_out = (SELECT out FROM item WHERE item.place = i.place)
  WHERE i.digest_id = ANY ($1::uuid[])
    AND i.place = ANY (ARRAY(SELECT place FROM item WHERE out IS NOT NULL))
), numbered AS (
  SELECT digest_id, created_at, place, payload, row_number() OVER w AS number, sum(octet_length(payload::text)) OVER w AS bytes
  FROM item WHERE out IS NULL WINDOW w AS (PARTITION BY digest_id ORDER BY created_at, place)
)
SELECT digest_id, count(*) AS total,
       coalesce(json_agg(payload ORDER BY created_at, place) FILTER (WHERE number <= $2 AND bytes <= $3), '[]') AS payloads,
       (json_agg(payload ORDER BY created_at, place))->0 AS first
FROM numbered GROUP BY digest_id

-- name: rules__fill_digests
UPDATE notify.notifications n SET payload = r.payload::jsonb
FROM unnest($1::uuid[], $2::text[]) AS r (id, payload) WHERE n.id = r.id AND n.is_digest

-- name: rules__tell_ends
WITH item AS (
  SELECT i.notification_id, r.digest_id, r.why
  FROM unnest($2::uuid[], $3::text[]) AS r (digest_id, why)
  CROSS JOIN LATERAL (SELECT * FROM notify.digest_items x WHERE x.digest_id = r.digest_id AND x.channel = $1 OFFSET 0) i
  JOIN notify.deliveries d ON d.notification_id = i.notification_id AND d.channel = $1 AND d.status = 'digested'
  ORDER BY i.notification_id
  FOR NO KEY UPDATE OF d
), told AS (
  UPDATE notify.deliveries d SET reason = item.why
  FROM item WHERE d.notification_id = item.notification_id AND d.channel = $1 AND d.status = 'digested'
  RETURNING d.notification_id, d.attempts, item.digest_id, item.why
)
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
SELECT notification_id, $1, 'digested', attempts, jsonb_build_object('digest', digest_id, 'reason', why) FROM told

-- name: rules__finish_digests
WITH item AS (
  SELECT i.notification_id, i.digest_id, coalesce(i.left_out, 'delivered') AS status
  FROM notify.digest_items i
  JOIN notify.deliveries d ON d.notification_id = i.notification_id AND d.channel = $1 AND d.status = 'digested'
  WHERE i.digest_id = ANY ($2::uuid[]) AND i.channel = $1
  ORDER BY i.notification_id
  FOR NO KEY UPDATE OF d
), done AS (
  UPDATE notify.deliveries d SET
    status = item.status, settled_at = clock_timestamp(),
    reason = CASE item.status WHEN 'delivered' THEN d.reason
                              WHEN 'canceled' THEN 'canceled before the digest was sent'
                              ELSE 'expires_at was over before the digest was sent' END
  FROM item WHERE d.notification_id = item.notification_id AND d.channel = $1 AND d.status = 'digested'
  RETURNING d.notification_id, d.attempts, d.status, item.digest_id
)
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
SELECT notification_id, $1, status, attempts,
       CASE status WHEN 'delivered' THEN jsonb_build_object('digested_into', digest_id)
                   ELSE jsonb_build_object('left_out_of', digest_id) END
FROM done

-- name: sms__doubts
SELECT e.notification_id, min(e.at) AS since,
       (SELECT min(m.message_id) FROM notify.sms_messages m
        WHERE m.notification_id = e.notification_id AND m.channel = $1 AND m.status <> ALL ($3::text[])) AS message_id
FROM notify.delivery_events e
WHERE e.notification_id = ANY ($2::uuid[]) AND e.channel = $1
  AND (e.event = 'taken_over' OR e.detail->>'error_class' = 'unknown')
GROUP BY e.notification_id

-- name: sms__others
SELECT message_id FROM notify.sms_messages
WHERE message_id = ANY ($1::text[]) AND NOT (channel = $2 AND notification_id = $3)

-- name: sms__remember
INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank)
SELECT d.provider_message_id, $1, d.notification_id, 'accepted', 0
FROM notify.deliveries d
WHERE d.notification_id = ANY ($2::uuid[]) AND d.channel = $1 AND d.provider_message_id IS NOT NULL
ON CONFLICT (message_id) DO NOTHING

-- name: sms__lock_delivery
SELECT status, attempts, provider FROM notify.deliveries
WHERE notification_id = $1 AND channel = $2
FOR NO KEY UPDATE

-- name: sms__report
INSERT INTO notify.sms_messages AS m (message_id, channel, notification_id, status, rank, reason)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (message_id) DO UPDATE SET
  status = excluded.status, rank = excluded.rank, reason = excluded.reason, updated_at = clock_timestamp()
WHERE m.rank < excluded.rank AND m.channel = excluded.channel AND m.notification_id = excluded.notification_id
RETURNING true

-- name: sms__tell
INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
VALUES ($1, $2, $3, $4, $5::jsonb)

-- name: sms__resolve
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

-- name: sms__fail_undelivered
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

-- name: sms__welcome_number
WITH veiled AS (
  DELETE FROM notify.veiled_suppressions
  WHERE channel = $1 AND veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), $1, lower($2))
    AND starts_with(reason, $3)
)
DELETE FROM notify.suppressions WHERE channel = $1 AND address = lower($2) AND starts_with(reason, $3)

-- name: statistics__count
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

-- name: status__schema_is_there
SELECT to_regclass('notify.outbox') IS NOT NULL

-- name: status__revision
SELECT version_num FROM notify.alembic_version

-- name: status__revisions_are_kept
SELECT to_regclass('notify.alembic_version') IS NOT NULL

-- name: status__relay
SELECT l.holder, l.epoch,
       extract(epoch FROM nullif(l.expires_at, '-infinity') - clock_timestamp())::float8 AS lease_seconds,
       t.no AS tick, extract(epoch FROM clock_timestamp())::float8 - t.ms / 1000.0::float8 AS tick_age_seconds
FROM (SELECT 1) one
LEFT JOIN notify.relay_lease l ON l.name = 'relay'
LEFT JOIN (SELECT no, ms FROM notify.relay_ticks ORDER BY no DESC LIMIT 1) t ON true

-- name: status__lag
WITH last AS (
  SELECT coalesce((SELECT snapshot FROM notify.relay_ticks ORDER BY no DESC LIMIT 1), '1:1:'::pg_snapshot) AS snapshot)
SELECT count(*) AS rows,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS seconds
FROM ((SELECT created_at FROM notify.outbox
       WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM last) ORDER BY xid, id LIMIT $1)
      UNION ALL
      (SELECT created_at FROM notify.outbox
       WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM last)) LIMIT $1)) waiting

-- name: status__channels
SELECT name, enabled FROM notify.channels ORDER BY name

-- name: status__deliveries
SELECT channel, status, count(*) AS count
FROM notify.deliveries WHERE notification_id >= $1
GROUP BY channel, status ORDER BY channel, status

-- name: status__scheduled
SELECT reason, count(*) AS count, extract(epoch FROM min(due_at) - clock_timestamp())::float8 AS next_seconds
FROM notify.scheduled GROUP BY reason ORDER BY reason

-- name: status__dead_letters
SELECT channel, count(*) AS count, extract(epoch FROM clock_timestamp() - min(failed_at))::float8 AS oldest_seconds
FROM notify.notifications_failed WHERE redriven_at IS NULL AND discarded_at IS NULL
GROUP BY channel ORDER BY channel

-- name: suppressions__suppress
INSERT INTO notify.suppressions (channel, address, reason)
SELECT DISTINCT ON (c.name, lower(a.address)) c.name, lower(a.address), a.reason
FROM unnest($1::text[], $2::text[], $3::text[]) AS a (channel, address, reason)
JOIN notify.channels c ON c.name = a.channel
ORDER BY c.name, lower(a.address)
ON CONFLICT (channel, address) DO NOTHING

-- name: suppressions__unsubscribe
WITH wished AS (
  INSERT INTO notify.user_channel_prefs AS p (user_id, channel, event_type, enabled)
  SELECT $1, c.name, $3, false FROM notify.channels c WHERE c.name = $2
  ON CONFLICT (user_id, channel, event_type) DO UPDATE SET enabled = false, updated_at = now() WHERE p.enabled
  RETURNING p.channel
), others AS (
  UPDATE notify.user_channel_prefs SET enabled = false, updated_at = now()
  WHERE $3 = '*' AND user_id = $1 AND channel = $2 AND event_type <> '*' AND enabled
), told AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, detail)
  SELECT n.id, w.channel, 'unsubscribed', jsonb_build_object('event_type', $3::text)
  FROM wished w JOIN notify.notifications n ON n.id = $4
)
SELECT EXISTS (SELECT FROM wished)

-- name: suppressions__page
SELECT channel, address, reason, created_at FROM notify.suppressions
WHERE (channel, address) > ($2, $3) AND channel <= coalesce($1, repeat('z', 41))
ORDER BY channel, address LIMIT $4

-- name: suppressions__of_address
SELECT c.name, lower($1), coalesce(s.reason, v.reason), coalesce(s.created_at, v.created_at)
FROM notify.channels c
LEFT JOIN LATERAL (  -- LIMIT keeps it a probe where Postgres knows little of the table yet
  SELECT reason, created_at FROM notify.suppressions WHERE channel = c.name AND address = lower($1) LIMIT 1) s ON true
LEFT JOIN LATERAL (
  SELECT reason, created_at FROM notify.veiled_suppressions
  WHERE channel = c.name
    AND veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), c.name, lower($1)) LIMIT 1) v ON true
WHERE ($2::text IS NULL OR c.name = $2) AND coalesce(s.reason, v.reason) IS NOT NULL
ORDER BY c.name

-- name: suppressions__kind_of
SELECT kind FROM notify.channels WHERE name = $1

-- name: suppressions__add
INSERT INTO notify.suppressions (channel, address, reason) VALUES ($1, lower($2), $3)
ON CONFLICT (channel, address) DO NOTHING
RETURNING channel, address, reason, created_at

-- name: suppressions__one
SELECT channel, address, reason, created_at FROM notify.suppressions WHERE channel = $1 AND address = lower($2)

-- name: suppressions__remove
WITH clear AS (
  DELETE FROM notify.suppressions WHERE channel = $1 AND address = lower($2)
  RETURNING channel, address, reason, created_at
), veiled AS (
  DELETE FROM notify.veiled_suppressions
  WHERE channel = $1 AND veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), $1, lower($2))
  RETURNING channel, lower($2) AS address, reason, created_at
)
SELECT * FROM clear UNION ALL SELECT * FROM veiled LIMIT 1

-- name: templates__sources
SELECT id, name, version, subject, body_text, body_html FROM notify.templates WHERE id = ANY ($1::uuid[])

-- name: templates__layouts
SELECT DISTINCT ON (name, locale) name, locale, version, subject, body_text, body_html
FROM notify.templates WHERE channel = $1 AND name = ANY ($2::text[])
ORDER BY name, locale, version DESC

-- name: templates__in_force
SELECT DISTINCT ON (channel, name, locale) channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE $1::text IS NULL OR channel = $1
ORDER BY channel, name, locale, version DESC

-- name: templates__versions
SELECT channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3
ORDER BY version DESC

-- name: templates__publish
WITH newest AS (
  SELECT version, (subject, body_text, body_html) = ($4, $5, $6) AS same
  FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3
  ORDER BY version DESC LIMIT 1
), added AS (
  INSERT INTO notify.templates (name, channel, locale, version, subject, body_text, body_html)
  SELECT $1, $2, $3, coalesce((SELECT version FROM newest), 0) + 1, $4, $5, $6
  WHERE NOT coalesce((SELECT same FROM newest), false)
    AND ($7::integer IS NULL OR $7 = coalesce((SELECT version FROM newest), 0))
  RETURNING version
)
SELECT (SELECT version FROM added) AS added, (SELECT version FROM newest) AS newest, (SELECT same FROM newest) AS same

-- name: templates__version
SELECT channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3 AND version = $4

-- name: webhooks__endpoint
SELECT url, secrets, enabled, reason FROM notify.webhook_endpoints WHERE channel = $1 AND user_id = $2

-- name: webhooks__switch_off_endpoint
UPDATE notify.webhook_endpoints SET enabled = false, reason = $4, updated_at = clock_timestamp()
WHERE channel = $1 AND user_id = $2 AND url = $3 AND enabled

-- name: webhooks__switch_off_channel
UPDATE notify.channels SET enabled = false WHERE name = $1 AND version = $2 AND enabled

-- name: webhooks__place
WITH fresh AS (
  INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (channel, notification_id) DO NOTHING
  RETURNING ms, row
)
SELECT ms, row FROM fresh
UNION ALL
SELECT ms, row FROM notify.endpoint_queue WHERE channel = $1 AND notification_id = $2
LIMIT 1

-- name: webhooks__keep_places
INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row)
SELECT $1, r.id, r.endpoint, r.ms, r.row
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[]) AS r (id, endpoint, ms, row)
ORDER BY r.id
ON CONFLICT (channel, notification_id) DO NOTHING

-- name: webhooks__take_turn
WITH ahead AS MATERIALIZED (
  SELECT q.notification_id, q.ms, q.row
  FROM notify.endpoint_queue q
  JOIN notify.deliveries d ON d.notification_id = q.notification_id AND d.channel = q.channel
  WHERE q.channel = $1 AND q.endpoint = $2 AND (q.ms, q.row) < ($4, $5)
    AND d.status IN ('pending', 'sending', 'retrying', 'deferred')
  ORDER BY q.ms, q.row LIMIT $7
), turn AS (
  INSERT INTO notify.endpoint_turns AS t (channel, endpoint, notification_id, held_until)
  SELECT $1, $2, $3, clock_timestamp() + make_interval(secs => $6) WHERE NOT EXISTS (SELECT FROM ahead)
  ON CONFLICT (channel, endpoint) DO UPDATE
    SET notification_id = excluded.notification_id, held_until = excluded.held_until
  WHERE t.notification_id = excluded.notification_id OR t.held_until < clock_timestamp()
  RETURNING true AS taken
)
SELECT EXISTS (SELECT FROM turn) AS taken,
       (SELECT count(*) FROM ahead) AS ahead,
       (SELECT extract(epoch FROM min(s.due_at) - clock_timestamp())::float8
          FROM (SELECT notification_id FROM ahead ORDER BY ms, row LIMIT 1) h
          JOIN notify.scheduled s ON s.notification_id = h.notification_id AND $1 = ANY (s.channels)) AS due_in

-- name: webhooks__leave_turn
WITH freed AS (
  DELETE FROM notify.endpoint_turns WHERE channel = $1 AND endpoint = $2 AND notification_id = $3
), gone AS (
  DELETE FROM notify.endpoint_queue
  WHERE channel = $1 AND endpoint = $2 AND ((ms, row) < ($4, $5) OR $6 AND (ms, row) = ($4, $5))
), next AS (
  SELECT q.notification_id FROM notify.endpoint_queue q
  JOIN notify.deliveries d ON d.notification_id = q.notification_id AND d.channel = q.channel
  WHERE $6 AND q.channel = $1 AND q.endpoint = $2 AND (q.ms, q.row) > ($4, $5)
    AND d.status IN ('pending', 'sending', 'retrying', 'deferred')
  ORDER BY q.ms, q.row LIMIT 1
), early AS (
  DELETE FROM notify.scheduled s USING next
  WHERE s.notification_id = next.notification_id AND s.channels = ARRAY[$1::text]
  RETURNING s.notification_id, s.channels, s.attempt, s.reason
)
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
SELECT clock_timestamp(), notification_id, channels, attempt, reason FROM early

