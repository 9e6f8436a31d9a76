-- name: below
-- A page of an inbox, newest first: items above $2 and below $3, archived or not ($4), unread, read or both ($5). The
-- primary key (user_id, seq) backwards; seq is dense, so the caller's bounds bound what is read where few items fit. The
-- page first, then its notifications by primary key: joined at once, a plan may read those of the whole span.
SELECT i.seq, i.notification_id, n.event_type, n.actor_user_id, n.payload, n.created_at, i.delivered_at,
       i.read_at, i.archived_at
FROM (SELECT * FROM notify.inbox
      WHERE user_id = $1 AND seq > $2 AND seq < $3
        AND CASE WHEN $4 THEN archived_at IS NOT NULL ELSE archived_at IS NULL END
        AND CASE $5::boolean WHEN true THEN read_at IS NULL WHEN false THEN read_at IS NOT NULL ELSE true END
      ORDER BY seq DESC LIMIT $6) i
JOIN notify.notifications n ON n.id = i.notification_id
ORDER BY i.seq DESC

-- name: oldest
-- The first item that is still there. The beginning of one range of the primary key.
SELECT seq FROM notify.inbox WHERE user_id = $1 ORDER BY seq LIMIT 1

-- name: counts
-- The counters and how many items there are, of one moment. One row of the counters by primary key; the items are
-- counted in its index, which for most of them is all that is read.
SELECT c.last_seq, c.unread, c.version, (SELECT count(*) FROM notify.inbox i WHERE i.user_id = c.user_id) AS total
FROM notify.inbox_counters c WHERE c.user_id = $1

-- name: seqs
-- Which items notifications are, if they are this user's. One probe of the unique index on notification_id for each;
-- OFFSET 0 keeps the planner from looking through all that the user has.
SELECT i.seq
FROM unnest($2::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (SELECT seq, user_id FROM notify.inbox WHERE notification_id = wanted.id OFFSET 0) i
WHERE i.user_id = $1
