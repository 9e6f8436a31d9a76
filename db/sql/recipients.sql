-- name: to_ask_for
-- Those of a batch's users who were not asked for in the last $2 seconds, and whether something is known of them. By
-- primary key.
SELECT u.id AS user_id, r.asked_at IS NOT NULL AS known
FROM unnest($1::text[]) AS u (id)
LEFT JOIN notify.recipients r ON r.user_id = u.id
WHERE r.asked_at IS NULL OR r.asked_at < clock_timestamp() - make_interval(secs => $2)

-- name: remember
-- What their source says of them, a user it does not know included. In order of user_id, so that two batches with the
-- same users queue up and cannot deadlock. Repeating it is harmless.
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
