-- name: channel_rules
-- How a channel retries and what it restrains; read again whenever a claim shows another version. Primary key.
SELECT version, retry_base, retry_cap, retry_jitter, retry_deadline, rules FROM notify.channels WHERE name = $1

-- name: take_slots
-- A place in its window for each delivery of a batch that is capped: NULL, or until when there is none. Windows are
-- locked in order of user and scope, by primary key, so two batches queue up and cannot deadlock; in a batch, who came
-- first gets the place.
SELECT s.id, notify.take_slot(s.id, s.user_id, $1, s.scope, s.most, make_interval(secs => s.per)) AS until
FROM (SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::integer[], $6::float8[])
        WITH ORDINALITY AS a (id, user_id, scope, most, per, place)
      ORDER BY user_id, scope, place) s

-- name: collect
-- In the transaction of settle: into the open digest of their key, or as the first of a new one. Digests are locked
-- in order of user and key, by the unique index of the open ones, as close_digests locks them. Which digest it
-- is goes on the timeline.
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

-- name: close_digests
-- Nothing joins them from now on. A statement of its own, so that what list_digests reads afterwards holds all that
-- had joined before; repeating it changes nothing. Primary key, locked in the order in which collect locks.
WITH mine AS (
  SELECT id FROM notify.digests WHERE id = ANY ($1::uuid[]) ORDER BY user_id, key FOR NO KEY UPDATE
)
UPDATE notify.digests d SET closed_at = coalesce(closed_at, clock_timestamp()) FROM mine WHERE d.id = mine.id

-- name: list_digests
-- What closed digests hold, the oldest first: at most $2 payloads of $3 bytes together, and how many there
-- are. What was canceled, or was too late when the digest closed, is marked as left out. Index (digest_id, place), which
-- OFFSET 0 and ARRAY see to whatever the planner knows of the table; then primary keys.
WITH item AS (
  SELECT i.notification_id, i.channel, i.digest_id, n.created_at, i.place, n.payload, n.traceparent,
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
  SELECT digest_id, created_at, place, payload, traceparent, row_number() OVER w AS number, sum(octet_length(payload::text)) OVER w AS bytes
  FROM item WHERE out IS NULL WINDOW w AS (PARTITION BY digest_id ORDER BY created_at, place)
)
SELECT digest_id, count(*) AS total,
       coalesce(json_agg(payload ORDER BY created_at, place) FILTER (WHERE number <= $2 AND bytes <= $3), '[]') AS payloads,
       (json_agg(payload ORDER BY created_at, place))->0 AS first,
       array_agg(traceparent ORDER BY created_at, place) FILTER (WHERE number <= $2 AND traceparent IS NOT NULL) AS causes
FROM numbered GROUP BY digest_id

-- name: fill_digests
-- What a digest came to say, for its timeline, its inbox item and its retries. Primary key.
UPDATE notify.notifications n SET payload = r.payload::jsonb
FROM unnest($1::uuid[], $2::text[]) AS r (id, payload) WHERE n.id = r.id AND n.is_digest

-- name: tell_ends
-- In the transaction that settles digests as anything but delivered: what they hold is told why. It stays in them, as a
-- redrive may deliver it yet. In order of id, by primary key, as claim and settle lock; index (digest_id, place), which
-- OFFSET 0 sees to whatever the planner knows of the table.
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

-- name: finish_digests
-- In the transaction that settles digests as delivered: what they held is delivered with them, or was left out of
-- them. In order of id, by primary key, as claim and settle lock.
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
