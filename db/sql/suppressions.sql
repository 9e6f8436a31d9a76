-- name: suppress
-- Addresses never to be written to again, each with the reason that the timeline will show. The first reason stays.
-- Inserted in order of the primary key, so two batches that share addresses queue up and cannot deadlock.
INSERT INTO notify.suppressions (channel, address, reason)
SELECT DISTINCT ON (c.name, lower(a.address)) c.name, lower(a.address), a.reason
FROM unnest($1::text[], $2::text[], $3::text[]) AS a (channel, address, reason)
JOIN notify.channels c ON c.name = a.channel
ORDER BY c.name, lower(a.address)
ON CONFLICT (channel, address) DO NOTHING

-- name: unsubscribe
-- One wish of one user: no more of this event type ('*': of any, whatever was wished before) on this channel. A row
-- changes only where it said otherwise, and only then the timeline says so. Primary keys throughout.
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

-- name: page
-- In order of channel and address, behind ($2, $3), of one channel or of all ($1): one range of the primary key, in its
-- own order. A channel's name has at most 40 characters.
SELECT channel, address, reason, created_at FROM notify.suppressions
WHERE (channel, address) > ($2, $3) AND channel <= coalesce($1, repeat('z', 41))
ORDER BY channel, address LIMIT $4

-- name: of_address
-- One address on every channel, or on one ($2), veiled ones among them: who knows an address may ask for it. A probe of
-- the primary keys for each channel, of which there are few.
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

-- name: kind_of
-- Primary key.
SELECT kind FROM notify.channels WHERE name = $1

-- name: add
-- Nothing where it stands there already, with its own reason. Primary key.
INSERT INTO notify.suppressions (channel, address, reason) VALUES ($1, lower($2), $3)
ON CONFLICT (channel, address) DO NOTHING
RETURNING channel, address, reason, created_at

-- name: one
-- Primary key.
SELECT channel, address, reason, created_at FROM notify.suppressions WHERE channel = $1 AND address = lower($2)

-- name: remove
-- In clear and veiled. Primary keys.
WITH clear AS (
  DELETE FROM notify.suppressions WHERE channel = $1 AND address = lower($2)
  RETURNING channel, address, reason, created_at
), veiled AS (
  DELETE FROM notify.veiled_suppressions
  WHERE channel = $1 AND veil = notify.veil((SELECT key FROM notify.veil_key WHERE one), $1, lower($2))
  RETURNING channel, lower($2) AS address, reason, created_at
)
SELECT * FROM clear UNION ALL SELECT * FROM veiled LIMIT 1
