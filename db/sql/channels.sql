-- name: kinds
-- What there is to work on, asked every second by each worker. The whole table: a handful of rows.
SELECT c.name, c.kind, s.shards, s.readable
FROM notify.channels c JOIN notify.shards s ON s.channel = c.name ORDER BY c.name

-- name: columns
-- No statement but columns, put where the others say {columns}.
name, kind, enabled, config, max_attempts, on_unknown, version, updated_at

-- name: wanted_shards
-- No statement but an expression, put where the others say {wanted_shards}. Primary key.
coalesce((SELECT n.shards FROM notify.channel_shards n WHERE n.channel = name), 1) AS shards

-- name: all_channels
-- The whole table: a handful of rows.
SELECT {columns}, {wanted_shards} FROM notify.channels ORDER BY name

-- name: channel
-- Primary key.
SELECT {columns}, {wanted_shards} FROM notify.channels WHERE name = $1

-- name: add_channel
-- Nothing where the name is taken: of two who come at once one is told so. Primary key.
WITH added AS (
  INSERT INTO notify.channels (name, kind, config, enabled, max_attempts, on_unknown)
  VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
  ON CONFLICT (name) DO NOTHING
  RETURNING {columns}
), cut AS (
  INSERT INTO notify.channel_shards (channel, shards) SELECT name, $7 FROM added)
SELECT {columns}, $7 AS shards FROM added

-- name: change_channel
-- Only the version that the change was made for ($2; NULL is any). Primary keys; the trigger raises the version, so two
-- changes of the shards wait for each other, too.
WITH changed AS (
  UPDATE notify.channels SET
    config = coalesce($3::text::jsonb, config), enabled = coalesce($4, enabled),
    max_attempts = coalesce($5, max_attempts), on_unknown = coalesce($6, on_unknown)
  WHERE name = $1 AND version = coalesce($2, version)
  RETURNING {columns}
), cut AS (
  INSERT INTO notify.channel_shards (channel, shards) SELECT name, $7::smallint FROM changed WHERE $7 IS NOT NULL
  ON CONFLICT (channel) DO UPDATE SET shards = excluded.shards)
SELECT {columns}, coalesce($7::smallint, (SELECT n.shards FROM notify.channel_shards n WHERE n.channel = name), 1) AS shards
FROM changed

-- name: remove_channel
-- Only the version that was looked at. The trigger channel_goes refuses what is in use. Primary key.
DELETE FROM notify.channels WHERE name = $1 AND version = coalesce($2, version) RETURNING name
