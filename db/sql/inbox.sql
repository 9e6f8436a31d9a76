-- name: counters
-- Where a user's inbox stands. Primary key. Read it before the items: whatever has a seq up to last_seq was
-- committed with it, so a range read afterwards, in a later snapshot, misses nothing of it.
SELECT last_seq, unread, version FROM notify.inbox_counters WHERE user_id = $1

-- name: versions
-- How far many users' inboxes have come, for the reconciliation. Primary key, one probe a user.
SELECT user_id, version FROM notify.inbox_counters WHERE user_id = ANY ($1::text[])

-- name: items
-- A page of what a client has not seen, oldest first: one range of the primary key (user_id, seq), in its own
-- order, so no sort; each notification by its primary key. The upper bound is what the counters said.
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM notify.inbox i JOIN notify.notifications n ON n.id = i.notification_id
WHERE i.user_id = $1 AND i.seq > $2 AND i.seq <= $3
ORDER BY i.seq LIMIT $4

-- name: latest
-- What a client without a cursor gets first: the newest that are not archived, newest first. The primary key
-- backwards; the page first, then its notifications: joined at once, a plan may read those of the whole span. The
-- lower bound keeps someone who archives everything from having the whole inbox looked through.
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM (SELECT * FROM notify.inbox
      WHERE user_id = $1 AND seq > $2 AND seq <= $3 AND archived_at IS NULL ORDER BY seq DESC LIMIT $4) i
JOIN notify.notifications n ON n.id = i.notification_id
ORDER BY i.seq DESC

-- name: marks
-- How the items of a range stand, for a client that may have missed being told. A short range of the primary key;
-- the bounds are the caller's.
SELECT seq, read_at IS NOT NULL AS read, archived_at IS NOT NULL AS archived
FROM notify.inbox
WHERE user_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq

-- name: lock
-- First in every transaction that changes an inbox, here as in the in-app worker: whoever holds the counter row
-- is alone with this user's items, so counts are exact and no two transactions wait for each other crosswise.
-- NO KEY: it is what the worker's UPDATE takes, too.
SELECT last_seq, unread, version FROM notify.inbox_counters WHERE user_id = $1 FOR NO KEY UPDATE

-- name: mark_read
-- Under the lock. Only what was not read, so that a repeat changes nothing. An archived item is not counted as
-- unread. Primary key, one probe a seq.
UPDATE notify.inbox SET read_at = clock_timestamp()
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND read_at IS NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: mark_read_up_to
-- Under the lock. Everything unread up to a seq that the client has seen: what comes later stays unread.
-- One range of the primary key.
UPDATE notify.inbox SET read_at = clock_timestamp()
WHERE user_id = $1 AND seq <= $2 AND read_at IS NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: mark_unread
-- Under the lock. Only what was read. Primary key, one probe a seq.
UPDATE notify.inbox SET read_at = NULL
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND read_at IS NOT NULL
RETURNING seq, archived_at IS NULL AS counts

-- name: archive
-- Under the lock. Only what was not archived; read_at stays as it is. Primary key, one probe a seq.
UPDATE notify.inbox SET archived_at = clock_timestamp()
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND archived_at IS NULL
RETURNING seq, read_at IS NULL AS counts

-- name: archive_up_to
-- Under the lock. Everything up to a seq that the client has seen. One range of the primary key.
UPDATE notify.inbox SET archived_at = clock_timestamp()
WHERE user_id = $1 AND seq <= $2 AND archived_at IS NULL
RETURNING seq, read_at IS NULL AS counts

-- name: unarchive
-- Under the lock. Only what was archived: what was unread then is unread again. Primary key, one probe a seq.
UPDATE notify.inbox SET archived_at = NULL
WHERE user_id = $1 AND seq = ANY ($2::bigint[]) AND archived_at IS NOT NULL
RETURNING seq, read_at IS NULL AS counts

-- name: recount
-- Under the lock, in the same transaction as the change of the items; not called where nothing changed.
UPDATE notify.inbox_counters SET unread = unread + $2, version = version + 1
WHERE user_id = $1
RETURNING last_seq, unread, version
