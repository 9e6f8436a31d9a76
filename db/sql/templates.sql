-- name: sources
-- The templates that claims named and this worker has not seen, as they are now. Primary key.
SELECT id, name, version, subject, body_text, body_html FROM notify.templates WHERE id = ANY ($1::uuid[])

-- name: layouts
-- What templates of one channel extend or include, by name, in every language. The unique index on (name, channel,
-- locale, version) has them together.
SELECT DISTINCT ON (name, locale) name, locale, version, subject, body_text, body_html
FROM notify.templates WHERE channel = $1 AND name = ANY ($2::text[])
ORDER BY name, locale, version DESC

-- name: in_force
-- The newest version of each, for people: of one channel or of all. The whole table, which is small.
SELECT DISTINCT ON (channel, name, locale) channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE $1::text IS NULL OR channel = $1
ORDER BY channel, name, locale, version DESC

-- name: versions
-- All versions of one, newest first, by the unique index, backwards.
SELECT channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3
ORDER BY version DESC

-- name: publish
-- A new version, unless the newest says the same; where $7 is given, only on top of that version. Two publishers at
-- once collide on the unique index, and the second is told so. Versions are never changed.
WITH newest AS (
  SELECT version, (subject, body_text, body_html) = ($4, $5, $6) AS same
  FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3
  ORDER BY version DESC LIMIT 1
), added AS (
  INSERT INTO notify.templates (name, channel, locale, version, subject, body_text, body_html)
  SELECT $1, $2, $3, coalesce((SELECT version FROM newest), 0) + 1, $4, $5, $6
  WHERE NOT coalesce((SELECT same FROM newest), false)
    AND ($7::integer IS NULL OR $7 = coalesce((SELECT version FROM newest), 0))
  RETURNING version
)
SELECT (SELECT version FROM added) AS added, (SELECT version FROM newest) AS newest, (SELECT same FROM newest) AS same

-- name: version
-- One version, by the unique index.
SELECT channel, name, locale, version, subject, body_text, body_html, created_at
FROM notify.templates WHERE name = $1 AND channel = $2 AND locale = $3 AND version = $4
