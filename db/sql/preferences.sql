-- name: of_user
-- All that somebody has said. A range of the primary key.
SELECT channel, event_type, enabled, constraints, updated_at
FROM notify.user_channel_prefs WHERE user_id = $1 ORDER BY channel, event_type

-- name: put
-- Those given, as they are now; those not given stay. In order of the primary key, so that two who write the same
-- rows queue up.
INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled, constraints)
SELECT $1, p.channel, p.event_type, p.enabled, p.constraints::jsonb
FROM unnest($2::text[], $3::text[], $4::boolean[], $5::text[]) AS p (channel, event_type, enabled, constraints)
ORDER BY p.channel, p.event_type
ON CONFLICT (user_id, channel, event_type) DO UPDATE SET
  enabled = excluded.enabled, constraints = excluded.constraints, updated_at = clock_timestamp()

-- name: keep_only
-- Those of somebody that are not among the given ones go. A range of the primary key.
DELETE FROM notify.user_channel_prefs u
WHERE u.user_id = $1
  AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS p (channel, event_type)
                  WHERE p.channel = u.channel AND p.event_type = u.event_type)

-- name: lock_user
-- Before a whole set is replaced: two who do so at once do it one after the other, and neither leaves a mixture. A
-- lock on a number made of the user's id: there may be no row yet to lock.
SELECT pg_advisory_xact_lock(hashtextextended($1, 1869967472))
