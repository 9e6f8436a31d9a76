-- name: claim
-- One batch of entries of one channel: who gets which, and all a worker must know to act. Deliveries are reached by
-- primary key and written in order of id, so two workers with overlapping batches queue up and cannot deadlock; the
-- loser's WHERE is judged on the winner's row. Repeating a claim with its own token changes nothing, so a claim whose
-- reply was lost is simply sent again. The joins after it are by primary key or unique index, one row each;
-- $7 spares in-app the contact, the suppression and the template; whether the inbox item was read is looked up for
-- escalations alone. prior is the row as it was before this statement. An entry's attempt is the number of times that
-- its delivery was settled before: attempts and deferrals. Preferences come from one range of their key, the nearest
-- one first; their constraints are handed on as they are, in that order.
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

-- name: settle
-- What became of a batch. Only rows whose lease token is still the one they were claimed with: a worker that slept
-- past its lease changes nothing. Locked in order of id, by primary key, as claim does. The token stays, so that a
-- settle whose reply was lost can be repeated: those rows come back as not open.
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

-- name: schedule_retries
-- In the transaction of settle, and only where there are any: an insert here wakes the relay. What is put off to a
-- moment is due then, whatever the worker's clock says. The deliveries, by primary key, are those just settled.
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
SELECT coalesce(r.until, clock_timestamp() + make_interval(secs => r.delay)), r.id, ARRAY[$1::text],
       d.attempts + d.deferrals, r.reason
FROM unnest($2::uuid[], $3::float8[], $4::timestamptz[], $5::text[]) AS r (id, delay, until, reason)
JOIN notify.deliveries d ON d.notification_id = r.id AND d.channel = $1

-- name: bury
-- In the transaction of settle: dead letters, for a person to look at.
INSERT INTO notify.notifications_failed (notification_id, channel, attempts, error_class, reason, stream, entry_id)
SELECT r.id, $1, r.attempts, r.error_class, r.reason, $2, r.entry_id
FROM unnest($3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::text[])
  AS r (id, attempts, error_class, reason, entry_id)

-- name: bury_undecodable
-- With their bytes, and where these still name a notification, as the end of its delivery: of one that waits for this
-- very attempt, or whose worker is gone; never of a final one. The unique index on (stream, entry_id) makes an entry
-- that comes twice one dead letter, and only the first time counts. What another worker holds is left alone, and
-- given back: its entry must stay. Deliveries are written in order of id, as claim does; all else is by primary key.
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

-- name: give_back
-- Claims under which nothing was sent are undone, so that the next one is not taken for a take-over. What had itself
-- been taken over is left as it was found, sending with its lease run out: how the attempt before ended is still not
-- known. Locked in order of id, by primary key, as claim does. The token goes, so a repeat finds nothing.
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

-- name: settle_in_inbox
-- settle for in-app, where to deliver is to put into the inbox: both in one autocommitted statement. As in settle only
-- rows with their token, locked in order of id; a repeat finds them not open, and places nothing. Only then counter
-- rows, in order of user_id (GROUP BY has read all of mine before), so that batches with the same users queue up; seq is
-- given under that lock, dense, in the order of the input. What is in the inbox already (a delivery row lost while its
-- notification stayed) is settled and left out, by the unique index on notification_id. No two lists are joined: the
-- planner takes item for one row and would join in nested loops, whose cost is the batch squared. Instead each user's
-- counters are sorted behind the user's items, and the window hands them back. place is that in the input, from 1.
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

-- name: inbox_counts
-- For a hint that may have been lost. Primary key.
SELECT user_id, last_seq, unread, version FROM notify.inbox_counters WHERE user_id = ANY ($1::text[])

-- name: channel_config
-- Read again whenever a claim shows another version. Primary key.
SELECT version, config FROM notify.channels WHERE name = $1
