-- name: add
INSERT INTO notify.api_keys (id, name, hash, scopes, event_types, channels, rate, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: presented
-- What a key that somebody shows may do: asked once in a few seconds for each key in use. Primary key, no lock.
SELECT id, hash, scopes, event_types, channels, rate, expires_at, revoked_at FROM notify.api_keys WHERE id = $1

-- name: key
-- Primary key.
SELECT id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
       version
FROM notify.api_keys WHERE id = $1

-- name: page
-- Newest first, from behind key $1 on. Index api_keys_created, read backwards; $3: those that are over, too.
SELECT id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
       version
FROM notify.api_keys
WHERE ($1::text IS NULL OR (created_at, id) < (SELECT c.created_at, c.id FROM notify.api_keys c WHERE c.id = $1))
  AND ($3 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())))
ORDER BY created_at DESC, id DESC LIMIT $2

-- name: change
-- Only the version that was looked at ($2; NULL is any), and none that was revoked. Whole rows: the caller has read
-- what is to stay. Primary key.
UPDATE notify.api_keys SET
  name = $3, scopes = $4, event_types = $5, channels = $6, rate = $7, expires_at = $8, version = version + 1
WHERE id = $1 AND version = coalesce($2, version) AND revoked_at IS NULL
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: revoke
-- For good. Nothing where it was revoked before. Primary key.
UPDATE notify.api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1 AND revoked_at IS NULL
RETURNING id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at, last_used_at,
          version

-- name: touch
-- When keys were used last, all of a process in one statement a minute. In order of the primary key, so that two
-- processes queue up and cannot deadlock; what another one has written this minute is left alone.
UPDATE notify.api_keys k SET last_used_at = now()
FROM (SELECT id FROM notify.api_keys WHERE id = ANY ($1::text[])
        AND (last_used_at IS NULL OR last_used_at < now() - interval '50 seconds')
      ORDER BY id FOR NO KEY UPDATE) AS used
WHERE k.id = used.id
