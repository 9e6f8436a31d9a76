-- name: row
-- No statement but columns, put where the others say {row}: what the relay knows of a row (relay.entries.Row).
id, xid, array_to_string(channels, ' ') AS channels, priority, attempt, origin, {envelope} AS envelope

-- name: line
-- No statement but columns, put where the others say {line}: what blocks are made of. No line break is in an envelope.
-- The slot, one of $1, tells which shard of each channel a row is for; where it goes to none of the channels $2, which
-- have several, nobody asks.
id, xid, array_to_string(channels, ' ') AS channels, priority, attempt,
CASE WHEN $1 > 1 AND channels && $2::text[] THEN notify.shard_of(user_id, $1::integer) ELSE 0 END AS slot,
id || ' ' || {envelope} || E'\n' AS line

-- name: blocks
-- No statement but columns, put where the others say {blocks}, over those of line: rows whose ids lie close
-- together as one value, made for the stream, so that Python touches no row (relay.entries.Block). As bytes, so that
-- nobody decodes it.
min(id) AS first, max(id) AS last, channels, priority, attempt, slot, count(*) AS rows,
textsend(string_agg(line, '' ORDER BY id)) AS lines,
count(*) FILTER (WHERE attempt = 0) AS produced

-- name: by_block
-- No statement but what blocks are grouped by, put where the others say {by_block}. A fixed range of ids, so that a
-- block has no more rows than that without anybody counting them.
id / 64, channels, priority, attempt, slot

-- name: envelope
-- No statement but an expression, put where the others say {envelope}: a row's entry as JSON, field for field
-- what outbox.envelope.Envelope.to_entry writes (a test compares them). Concatenation is four times as fast as
-- json_build_object, and this runs once a row; to_json where the constraints leave something to escape.
'{"v":1,"notification_id":"' || notification_id || '","event_type":"' || event_type
    || '","user_id":' || to_json(user_id)
    || coalesce(',"actor_user_id":' || to_json(actor_user_id), '')
    || ',"channels":["' || array_to_string(channels, '","') || '"],"payload":' || payload::text
    || coalesce(',"template_name":' || to_json(template_name), '')
    || coalesce(',"dedup_key":' || to_json(dedup_key), '')
    || ',"priority":"' || priority || '","created_at":' || to_json(created_at)
    || coalesce(',"deliver_at":' || to_json(deliver_at), '')
    || coalesce(',"expires_at":' || to_json(expires_at), '')
    || coalesce(',"traceparent":' || to_json(traceparent), '')
    || CASE WHEN digest_key IS NULL AND escalate_after IS NULL THEN ''
            ELSE coalesce(',"digest_key":' || to_json(digest_key), '')
              || coalesce(',"digest_window":' || digest_window, '')
              || coalesce(',"escalate_after":' || escalate_after, '')
              || coalesce(',"escalate_channels":' || to_json(escalate_channels), '') END || '}'

-- name: tick
-- No statement but columns, put where the others say {tick}: a tick, with its placement. A primary key, if it has one.
no, ms, snapshot::text, tops::text, behind, solo, rows, bytes, floor,
placement, (SELECT shards::text FROM notify.placements p WHERE p.no = placement) AS shards

-- name: last_ticks
-- The newest tick, which may not be whole in Redis, and the one before, which is. Primary key, backwards.
SELECT {tick} FROM notify.relay_ticks ORDER BY no DESC LIMIT 2

-- name: look
-- One statement, so one snapshot, which each record tells; so there is one where nothing was found, too. Two
-- ranges of the index (xid, id): what began after the previous tick, and what was in progress then and has ended
-- since. Cost follows the rows found, not the age of the oldest open transaction nor the rows it has written. At
-- most $5 rows, and no more than about $6 bytes of entries (of a payload's text, that is: stored, it may be a tenth); where that was not all, the blocks leave out the newest
-- transaction, which may not be there whole. $7 passes over the partitions below it, which hold no such row.
WITH found AS MATERIALIZED (
  SELECT *
  FROM (SELECT r.*, octet_length(line) AS own,
               sum(octet_length(line)) OVER (ORDER BY xid, id ROWS UNBOUNDED PRECEDING) AS size
        FROM ((SELECT {line}
               FROM notify.outbox WHERE xid >= $3 AND id > $7 ORDER BY xid, id LIMIT $5)
              UNION ALL
              (SELECT {line}
               FROM unnest($4::xid8[]) AS ended
               CROSS JOIN LATERAL (SELECT * FROM notify.outbox WHERE xid = ended AND id > $7 ORDER BY id LIMIT $5) o
               WHERE pg_visible_in_snapshot(ended, pg_current_snapshot())
               ORDER BY xid, id LIMIT $5)
              ORDER BY xid, id LIMIT $5) r) w
  WHERE size - own <= $6),
edge AS MATERIALIZED (
  SELECT pg_current_snapshot()::text AS seen, count(*) AS found, coalesce(max(size), 0) AS size,
         min(xid) AS oldest, max(xid) AS newest
  FROM found)
SELECT block.*, edge.*
FROM edge LEFT JOIN (
  SELECT {blocks}, sum(own) AS bytes FROM found
  WHERE xid < (SELECT newest FROM edge) OR (SELECT edge.found < $5 AND edge.size <= $6 FROM edge)
  GROUP BY {by_block}) block ON true

-- name: insert_tick
-- One autocommitted statement: a relay frozen at any point holds nothing open that another would wait for.
-- No row comes back where another relay was first, however long ago: its tick may be gone with its partition.
-- Postgres' clock, so that all relays have the same one; max(previous + 1) keeps ids growing whatever the clock does.
INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, behind, solo, rows, bytes, max_id, floor, placement)
SELECT $1, greatest($2::bigint + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
       $3::text::pg_snapshot, $4::jsonb, $5, $6, $7, $8, $9, $10, $11
WHERE NOT EXISTS (SELECT FROM notify.relay_ticks WHERE no >= $1)
ON CONFLICT DO NOTHING
RETURNING ms

-- name: look_and_tick
-- look and insert_tick in one autocommitted statement, for what comes in small portions: two round trips less. One
-- statement, so one snapshot: the tick's is the very one by which the rows were read; its own transaction id is drawn
-- behind it. A tick is made only if there are rows, at most $10 of them with at most $11 bytes of payload, none of which
-- came from another database. One row more than may be is read, so that "all" is known to be all. Ranges of the index
-- (xid, id) and the partitions above $9, as look; no order, because a tick's rows are sorted by whoever appends them.
-- One record where no tick was made, else one for each block; `fits` without ms: another relay was first.
WITH found AS MATERIALIZED (
  SELECT * FROM (
    (SELECT o.* FROM notify.outbox o WHERE xid >= $5 AND id > $9 LIMIT $10::bigint + 1)
    UNION ALL
    (SELECT o.*
     FROM unnest($6::xid8[]) AS ended
     CROSS JOIN LATERAL (SELECT * FROM notify.outbox WHERE xid = ended AND id > $9 LIMIT $10::bigint + 1) o
     WHERE pg_visible_in_snapshot(ended, pg_current_snapshot()))
  ) r LIMIT $10::bigint + 1
), total AS MATERIALIZED (
  SELECT count(*) AS found, sum(pg_column_size(payload)) AS size, max(id) AS max_id,
         count(*) BETWEEN 1 AND $10 AND sum(pg_column_size(payload)) <= $11
           AND bool_and(xid < pg_snapshot_xmax(pg_current_snapshot())) AS fits
  FROM found
), tick AS (
  INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, behind, rows, bytes, max_id, floor, placement)
  SELECT $3, greatest($4::bigint + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
         pg_current_snapshot(), $7::jsonb, $8, found, size, max_id, $9, $12
  FROM total
  WHERE fits AND NOT EXISTS (SELECT FROM notify.relay_ticks WHERE no >= $3)
  ON CONFLICT DO NOTHING
  RETURNING ms)
SELECT block.*, pg_current_snapshot()::text AS seen, total.found, total.size, fits, ms
FROM total LEFT JOIN tick ON true LEFT JOIN (
  SELECT {blocks} FROM (SELECT {line} FROM found WHERE EXISTS (SELECT FROM tick)) r GROUP BY {by_block}) block ON true

-- name: tick_rows
-- The rows of a tick again, for a relay that finds it in doubt. Index (xid, id), as look.
SELECT {blocks}
FROM (SELECT {line}
      FROM (SELECT * FROM notify.outbox WHERE xid >= $3 AND xid < $4 AND id > $7
            UNION ALL
            SELECT * FROM notify.outbox WHERE xid = ANY ($5::xid8[]) AND id > $7) o
      WHERE pg_visible_in_snapshot(xid, $6::text::pg_snapshot)) r
GROUP BY {by_block}

-- name: solo_rows
-- A page of one big transaction, in order of id: exactly a range of the index (xid, id).
SELECT {blocks}
FROM (SELECT {line} FROM notify.outbox WHERE xid = $3 AND id > $4 ORDER BY id LIMIT $5) r
GROUP BY {by_block}

-- name: solo_top
-- The highest id of one big transaction. The end of a range of the index (xid, id).
SELECT max(id) FROM notify.outbox WHERE xid = $1

-- name: unsettled_rows
-- What one stream should hold of the ticks between two snapshots, without what is settled already: a flushed
-- stream comes back as its backlog, not as its history. What is being sent stays in: its worker may be dead. What was
-- purged or erased stays away: its deliveries cannot tell that they were settled. Index (xid, id), then the primary keys of
-- deliveries and notifications.
SELECT {row}
FROM (SELECT * FROM notify.outbox WHERE xid >= $1 AND xid < $2 AND id > $7
      UNION ALL
      SELECT * FROM notify.outbox WHERE xid = ANY ($3::xid8[]) AND id > $7) r
WHERE pg_visible_in_snapshot(xid, $4::text::pg_snapshot)
  AND $5 = ANY (channels) AND priority = $6 AND ($9::integer = 1 OR notify.shard_of(user_id, $9) = $10)
  AND NOT EXISTS (
    SELECT FROM notify.deliveries d
    WHERE d.notification_id = r.notification_id AND d.channel = $5
      AND (d.status NOT IN ('pending', 'sending', 'retrying', 'deferred')
           OR d.status <> 'sending' AND d.attempts + d.deferrals > r.attempt))
  AND EXISTS (SELECT FROM notify.notifications n WHERE n.id = r.notification_id)
ORDER BY id LIMIT $8

-- name: ticks_from
-- The ticks from a number on, and the one before them, whose snapshot is where they begin. Primary key.
SELECT {tick} FROM notify.relay_ticks WHERE no >= $1 - 1 ORDER BY no LIMIT $2

-- name: tick_at
-- The last tick up to a moment: which one a stream's last id came from. Unique index on ms, backwards.
SELECT no, ms FROM notify.relay_ticks WHERE ms <= $1 ORDER BY ms DESC LIMIT 1

-- name: edge_ticks
-- The oldest tick kept and the newest. Both ends of the primary key.
SELECT (SELECT min(no) FROM notify.relay_ticks) AS first, (SELECT max(ms) FROM notify.relay_ticks) AS last_ms

-- name: promote_due
-- What is due goes into the outbox in one transaction and takes the same road as everything else. Index on due_at;
-- SKIP LOCKED lets two relays, or a cancellation, pass each other. ARRAY, because a join may be planned so that it
-- reads all that is scheduled, as does a comparison with clock_timestamp(), which no index can serve.
WITH due AS (
  DELETE FROM notify.scheduled WHERE id = ANY (ARRAY(
    SELECT id FROM notify.scheduled WHERE due_at <= statement_timestamp()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
  RETURNING notification_id, channels, attempt, due_at)
INSERT INTO notify.outbox
  (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
   created_at, deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels,
   attempt, origin)
SELECT n.id, n.event_type, n.user_id, n.actor_user_id, due.channels, n.payload, n.template_name, n.dedup_key,
       n.priority, n.created_at, n.deliver_at, n.expires_at, n.traceparent, n.digest_key,
       n.digest_window, n.escalate_after, n.escalate_channels, due.attempt, 'schedule'
FROM due JOIN notify.notifications n ON n.id = due.notification_id
ORDER BY due.due_at

-- name: next_due
-- Seconds until something is due, by Postgres' clock. First entry of the index on due_at.
SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM notify.scheduled

-- name: set_flag
-- 1 asleep, 2 awake. A sequence is read outside MVCC: producers see it from this moment on.
SELECT setval('notify.relay_flag', $1)

-- name: read_flag
-- What producers see.
SELECT pg_sequence_last_value('notify.relay_flag'::regclass)

-- name: new_xid
-- A transaction id from now: whoever has a lower one began before.
SELECT pg_current_xact_id()

-- name: xmax_now
-- The next transaction id: below that of the last tick only if the database is another one than then.
SELECT pg_snapshot_xmax(pg_current_snapshot())

-- name: passed_over
-- Whether there is what no relay of this cluster leaves: a committed row that the newest tick's snapshot sees, above
-- every id that a tick holds; or ids given out from below them. So a copy shows even after this cluster's transaction
-- ids have caught up with the copied ones. Asked at a relay's start: it reads the ticks, and the newest partitions.
WITH known AS MATERIALIZED (
  SELECT max(max_id) AS max_id, (SELECT snapshot FROM notify.relay_ticks ORDER BY no DESC LIMIT 1) AS snapshot
  FROM notify.relay_ticks)
SELECT coalesce(
  coalesce(pg_sequence_last_value('notify.outbox_id_seq'::regclass), 0) < max_id
  OR EXISTS (SELECT FROM notify.outbox WHERE id > max_id AND pg_visible_in_snapshot(xid, snapshot)), false)
FROM known

-- name: take_lease
-- Mine, or free, or run out. The row lock orders two that try at once. A lease that ends much later than one that was
-- taken now was taken before the clock was set back, maybe by hours: it says nothing, and whoever took it may be dead.
INSERT INTO notify.relay_lease AS l (name, holder, epoch, expires_at)
VALUES ('relay', $1, 1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (name) DO UPDATE
  SET holder = excluded.holder, epoch = l.epoch + (l.holder <> excluded.holder)::int, expires_at = excluded.expires_at
  WHERE l.holder = excluded.holder OR l.expires_at < clock_timestamp()
     OR l.expires_at > clock_timestamp() + make_interval(secs => 2 * $2)
RETURNING epoch

-- name: release_lease
-- Let the standby in at once, and wake it.
WITH freed AS (
  UPDATE notify.relay_lease SET expires_at = '-infinity' WHERE name = 'relay' AND holder = $1 RETURNING name)
SELECT pg_notify('notify_relay', '') FROM freed

-- name: partitions
-- Every partition with its bounds, in order of id.
SELECT c.relname AS name,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\)'))[1]::bigint AS from_id,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''(\d+)''\)'))[1]::bigint AS to_id
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'notify.outbox'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
ORDER BY from_id

-- name: last_id
-- The last id given out.
SELECT coalesce(pg_sequence_last_value('notify.outbox_id_seq'::regclass), 0)

-- name: newest_row_at
-- When the last transaction of a partition wrote. Its index (xid, id), backwards; id prunes the others.
SELECT created_at FROM notify.outbox WHERE id >= $1 AND id < $2 ORDER BY xid DESC, id DESC LIMIT 1

-- name: add_partition
SELECT notify.outbox_add_partition($1, $2)

-- name: drop_partition
-- Whether it went: not while it holds a row that this snapshot does not see, hence that no tick may hold.
SELECT notify.outbox_drop_partition($1, $2::text::pg_snapshot)

-- name: prune_default
-- Old rows that no range caught, under the rules that a partition is dropped by. Pages, for short locks.
DELETE FROM notify.outbox_default WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM notify.outbox_default
  WHERE created_at < $1 AND id < $2 AND pg_visible_in_snapshot(xid, $3::text::pg_snapshot) LIMIT 10000))

-- name: delete_ticks
-- Ticks whose rows are all gone with their partitions, but for the last of them: its snapshot is where the first
-- tick that is left begins. The two newest stay: they are the relay's memory.
DELETE FROM notify.relay_ticks
WHERE no < (SELECT min(no) - 1 FROM notify.relay_ticks WHERE max_id >= $1)
  AND no < (SELECT max(no) - 1 FROM notify.relay_ticks)

-- name: backlog
-- Rows that no tick holds yet, counted up to 10,000: a gauge must not cost what it measures. Index only; two ranges
-- of it, as look, because an OR of them would be one walk through the whole index.
SELECT count(*) FROM (
  (SELECT FROM notify.outbox WHERE xid >= $1 AND id > $3 LIMIT 10000)
  UNION ALL
  (SELECT FROM notify.outbox WHERE id > $3 AND xid = ANY (ARRAY(
     SELECT ended FROM unnest($2::xid8[]) AS ended WHERE pg_visible_in_snapshot(ended, pg_current_snapshot())))
   LIMIT 10000)
  LIMIT 10000) r
