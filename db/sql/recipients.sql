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

-- name: page
-- In order of user_id, a page at a time, by primary key.
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients
WHERE user_id > $1 ORDER BY user_id LIMIT $2

-- name: one
-- Primary key.
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients WHERE user_id = $1

-- name: lock
-- Before it is changed, so that what was looked at is what is changed. The row alone, by primary key: a worker that
-- remembers an answer about the same user waits for the end of a short transaction.
SELECT user_id, email, phone, locale, time_zone, quiet_hours, updated_at FROM notify.recipients WHERE user_id = $1
FOR NO KEY UPDATE

-- name: add
-- Nothing where there is one: of two who come at once one is told so. Primary key.
INSERT INTO notify.recipients (user_id, email, phone, locale, time_zone, quiet_hours)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
ON CONFLICT (user_id) DO NOTHING
RETURNING user_id, email, phone, locale, time_zone, quiet_hours, updated_at

-- name: put
-- These facts and no others, whatever was known before. asked_at stays: it is the workers'. Primary key.
INSERT INTO notify.recipients (user_id, email, phone, locale, time_zone, quiet_hours)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
ON CONFLICT (user_id) DO UPDATE SET
  email = excluded.email, phone = excluded.phone, locale = excluded.locale, time_zone = excluded.time_zone,
  quiet_hours = excluded.quiet_hours, updated_at = clock_timestamp()
RETURNING user_id, email, phone, locale, time_zone, quiet_hours, updated_at

-- name: remove
-- Primary key.
DELETE FROM notify.recipients WHERE user_id = $1

-- name: stand_in
-- A recipient made up for a test that goes to an address ($1): one of a hundred ids that nobody has used for an hour. The
-- workers never ask for it elsewhere. Of two who take the same one, one gets nothing, and asks again. Primary key.
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

-- name: forget_stand_ins
-- Addresses of tests that are over. A probe of the primary key for each of the hundred.
DELETE FROM notify.recipients
WHERE user_id = ANY (ARRAY(SELECT 'outbox-test:' || n FROM generate_series(1, 100) n))
  AND updated_at < clock_timestamp() - interval '1 hour'
