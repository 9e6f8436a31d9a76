-- name: kinds
-- What there is to work on, asked every second by each worker. The whole table: a handful of rows.
SELECT c.name, c.kind, s.shards, s.readable
FROM notify.channels c JOIN notify.shards s ON s.channel = c.name ORDER BY c.name

-- name: all_channels
-- The whole table: a handful of rows.
SELECT name, kind, enabled, config, max_attempts, on_unknown, version, updated_at FROM notify.channels ORDER BY name

-- name: channel
-- Primary key.
SELECT name, kind, enabled, config, max_attempts, on_unknown, version, updated_at FROM notify.channels WHERE name = $1

-- name: add_channel
-- Nothing where the name is taken: of two who come at once one is told so. Primary key.
INSERT INTO notify.channels (name, kind, config, enabled, max_attempts, on_unknown)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
ON CONFLICT (name) DO NOTHING
RETURNING name, kind, enabled, config, max_attempts, on_unknown, version, updated_at

-- name: change_channel
-- Only the version that the change was made for ($2; NULL is any). Primary key; the trigger raises the version.
UPDATE notify.channels SET
  config = coalesce($3::text::jsonb, config), enabled = coalesce($4, enabled),
  max_attempts = coalesce($5, max_attempts), on_unknown = coalesce($6, on_unknown)
WHERE name = $1 AND version = coalesce($2, version)
RETURNING name, kind, enabled, config, max_attempts, on_unknown, version, updated_at

-- name: remove_channel
-- Only the version that was looked at. The trigger channel_goes refuses what is in use. Primary key.
DELETE FROM notify.channels WHERE name = $1 AND version = coalesce($2, version) RETURNING name
