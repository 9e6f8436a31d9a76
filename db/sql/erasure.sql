-- name: request
-- One at a time for each person, by the unique index of the open ones: who asks again gets the one under way, with the
-- addresses of both.
INSERT INTO notify.erasures AS e (subject, user_id, addresses) VALUES ($1, $2, $3)
ON CONFLICT (subject) WHERE finished_at IS NULL DO UPDATE SET
  addresses = ARRAY(SELECT unnest(e.addresses) UNION SELECT unnest(excluded.addresses))
RETURNING {erasure}

-- name: find
-- Primary key.
SELECT {erasure} FROM notify.erasures WHERE id = $1

-- name: erasure
-- No statement but columns, put where the others say {erasure}.
id, subject, user_id, addresses, round, stage, place, erased, requested_at, finished_at

-- name: take
-- The one that has waited longest, or the one named ($3), for whoever can have it: it is nobody's, or mine, or its holder
-- is gone. SKIP LOCKED, so that nobody waits for a step of another. Open ones are few: their partial index.
UPDATE notify.erasures SET lease_token = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = (
  SELECT id FROM notify.erasures
  WHERE finished_at IS NULL AND due_at <= clock_timestamp() AND ($3::uuid IS NULL OR id = $3)
    AND (lease_token IS NULL OR lease_token = $1 OR lease_until < clock_timestamp())
  ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING {erasure}

-- name: advance
-- In the transaction of a step: how far it has come, and what it has erased, added up. Nothing comes back where the
-- lease is another's by now: the step then did not happen.
UPDATE notify.erasures SET
  round = $3, stage = $4, place = $5,
  erased = (SELECT coalesce(jsonb_object_agg(key, rows), '{}')
            FROM (SELECT key, sum(value::bigint) AS rows
                  FROM (SELECT * FROM jsonb_each_text(erased) UNION ALL SELECT * FROM jsonb_each_text($6::text::jsonb)) e
                  GROUP BY key) s WHERE rows > 0),
  due_at = clock_timestamp() + make_interval(secs => $7)
WHERE id = $1 AND lease_token = $2
RETURNING id

-- name: finish
-- With the last step: from here on the row names nobody.
UPDATE notify.erasures SET
  finished_at = clock_timestamp(), user_id = NULL, addresses = NULL, place = NULL, lease_token = NULL, lease_until = NULL
WHERE id = $1 AND lease_token = $2
RETURNING id

-- name: limit_waits
-- In the transaction of a step: it gives up, and comes again, rather than keep workers waiting behind it.
SET LOCAL lock_timeout = '2s'

-- name: pick
-- Some of a person's notifications, the oldest first. Index on (user_id, created_at, id).
SELECT id FROM notify.notifications WHERE user_id = $1 ORDER BY created_at, id LIMIT $2

-- name: lock_deliveries
-- First of what a step locks, and in the order in which a claim and a settle take them, so that workers and an erasure
-- wait for each other and never crosswise. Primary key.
SELECT FROM notify.deliveries WHERE notification_id = ANY ($1::uuid[]) ORDER BY notification_id, channel FOR UPDATE

-- name: lock_digests
-- Then the digests that are still open, as a worker does that collects. Their partial index.
SELECT FROM notify.digests WHERE user_id = $1 AND closed_at IS NULL ORDER BY user_id, key FOR UPDATE

-- name: lock_inbox
-- Then the inbox, as everybody does who changes one.
SELECT FROM notify.inbox_counters WHERE user_id = $1 FOR UPDATE

-- name: erase_notifications
-- Last the notifications, in the order of their ids. What hangs on them is deleted and counted here, by indexes
-- that begin with notification_id; the foreign keys take along what comes in between.
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

-- name: lock_notifications
-- In order of id, as the foreign keys of a claim's rows do. Primary key.
SELECT FROM notify.notifications WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE

-- name: erase_person
-- All that is kept by the person. Suppressions of the addresses known are veiled, and go on being honoured. Primary keys,
-- and indexes that begin with user_id; the endpoints' queue and turns hold few rows.
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

-- name: forget_actor
-- In other people's notifications, who did it. The partial index (actor_user_id, id).
WITH named AS (
  UPDATE notify.notifications SET actor_user_id = NULL
  WHERE id = ANY (ARRAY(SELECT id FROM notify.notifications WHERE actor_user_id = $1 ORDER BY id LIMIT $2
                        FOR NO KEY UPDATE))
  RETURNING 1)
SELECT count(*) FROM named

-- name: forget_maker_of_keys
-- The pseudonym for who made a program's key. Few rows.
UPDATE notify.api_keys SET created_by = $2 WHERE created_by = $1

-- name: forget_in_audit_log
-- See the function. Index on (actor, id).
SELECT notify.audit_forget_actor($1, $2)

-- name: undecodable
-- Dead letters of which only bytes are known, a page at a time. Primary key; they are few.
SELECT id, raw FROM notify.notifications_failed
WHERE raw IS NOT NULL AND notification_id IS NULL AND ($1::uuid IS NULL OR id > $1)
ORDER BY id LIMIT $2

-- name: erase_letters
-- Primary key.
DELETE FROM notify.notifications_failed WHERE id = ANY ($1::uuid[])

-- name: log_edge
-- The transaction id that lies so many rows further on in the log; none where the log ends before. The index (xid, id).
SELECT xid FROM notify.outbox WHERE xid >= $1 ORDER BY xid, id OFFSET $2 LIMIT 1

-- name: erase_log
-- A stretch of the log, by the index (xid, id). It holds up no producer, and the relay reads on: a row that is gone
-- before it was read is in no stream, and one that was read before is the streams' business.
DELETE FROM notify.outbox WHERE xid >= $1 AND xid < $2 AND user_id = $3

-- name: forget_actor_in_log
-- See the function.
SELECT notify.outbox_forget_actor($1, $2, $3)

-- name: reissue
-- Other people's entries that named the person as the one who did it are taken out of the stream; what is still open of
-- them goes into the log again, without the name, as a retry would. Primary keys.
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

-- name: gone
-- Which of these letters, as the stream of dead letters tells them, are no more, or belong to a notification that is no
-- more. Primary keys. `place` is that in the input, from 1.
SELECT l.place::integer
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS l (id, notification_id, place)
LEFT JOIN notify.notifications n ON n.id = l.notification_id
LEFT JOIN notify.notifications_failed f ON f.id = l.id
WHERE CASE WHEN l.notification_id IS NULL THEN f.id IS NULL ELSE n.id IS NULL END
