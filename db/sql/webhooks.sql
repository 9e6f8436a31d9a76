-- name: endpoint
-- Where a user's webhooks of a channel go. Primary key.
SELECT url, secrets, enabled, reason FROM notify.webhook_endpoints WHERE channel = $1 AND user_id = $2

-- name: switch_off_endpoint
-- After a 410. Only the address that said so: another one may stand there meanwhile. Primary key.
UPDATE notify.webhook_endpoints SET enabled = false, reason = $4, updated_at = clock_timestamp()
WHERE channel = $1 AND user_id = $2 AND url = $3 AND enabled

-- name: switch_off_channel
-- After a 410 of the endpoint of all. Only the version that the request was made with. Primary key.
UPDATE notify.channels SET enabled = false WHERE name = $1 AND version = $2 AND enabled

-- name: place
-- A delivery's place in the queue of its endpoint: where it was first, or else here. Its claim is held, so nobody
-- else does the same. Primary key.
WITH fresh AS (
  INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (channel, notification_id) DO NOTHING
  RETURNING ms, row
)
SELECT ms, row FROM fresh
UNION ALL
SELECT ms, row FROM notify.endpoint_queue WHERE channel = $1 AND notification_id = $2
LIMIT 1

-- name: keep_places
-- In the transaction that puts these off before they had a place: nothing that came later may go first. In order of id,
-- by primary key.
INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row)
SELECT $1, r.id, r.endpoint, r.ms, r.row
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[]) AS r (id, endpoint, ms, row)
ORDER BY r.id
ON CONFLICT (channel, notification_id) DO NOTHING

-- name: take_turn
-- Whether nothing open stands before this place, and nobody else is sending; then the turn is ours until the lease
-- runs out. In order of place by the index endpoint_queue_place; rows of what is settled are few, since whoever
-- leaves takes those before away. The turn is one row, so two who come at once queue up for it. How many stand before
-- ($7 at most) and when the first of them is due say how soon to come back.
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

-- name: leave_turn
-- The turn is free again. What stood before is settled, and goes; so does what was delivered ($6), and then the next
-- in the queue is due at once. An insert, because that wakes the relay. Primary keys, and the index by place.
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
