-- name: add_recipient
-- For `outbox up` alone. What a person has changed since stays changed: only the demo's own row of an earlier time,
-- which had no number, gets one.
INSERT INTO notify.recipients AS r (user_id, email, phone) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone WHERE r.phone IS NULL AND r.email = excluded.email

-- name: add_devices
-- Where the user has none: registered ones of a person are left alone, and so are those that another user has by now.
INSERT INTO notify.device_tokens (user_id, platform, token)
SELECT $1, d.platform, d.token FROM unnest($2::text[], $3::text[]) AS d (platform, token)
WHERE NOT EXISTS (SELECT FROM notify.device_tokens t WHERE t.user_id = $1)
ON CONFLICT DO NOTHING

-- name: lead_to_double
-- One row by its key, and only while its config is the one that the migrations have put there.
UPDATE notify.channels SET config = $3::jsonb WHERE name = $1 AND config = $2::jsonb
