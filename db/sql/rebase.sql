-- name: open
-- No statement but a condition on a row o of the log, put where the others say {open}: one of its deliveries is not
-- settled, as unsettled_rows (relay.sql) has it, and the notification has not been erased.
EXISTS (
  SELECT FROM unnest(o.channels) AS c
  WHERE NOT EXISTS (
    SELECT FROM notify.deliveries d
    WHERE d.notification_id = o.notification_id AND d.channel = c
      AND (d.status NOT IN ('pending', 'sending', 'retrying', 'deferred')
           OR d.status <> 'sending' AND d.attempts + d.deferrals > o.attempt)))
AND EXISTS (SELECT FROM notify.notifications n WHERE n.id = o.notification_id)

-- name: history
-- Whether the log and its ticks were written in this cluster. `top_xid` by the index (xid, id), backwards; the ids
-- above all ticks' lie in the newest partitions. The ticks are read once.
WITH last AS MATERIALIZED (
  SELECT no, ms, snapshot, (SELECT max(max_id) FROM notify.relay_ticks) AS max_id
  FROM notify.relay_ticks ORDER BY no DESC LIMIT 1)
SELECT pg_snapshot_xmax(pg_current_snapshot()) AS xmax,
       (SELECT no FROM last) AS tick, (SELECT ms FROM last) AS tick_ms,
       (SELECT pg_snapshot_xmax(snapshot) FROM last) AS tick_xmax,
       (SELECT xid FROM notify.outbox ORDER BY xid DESC, id DESC LIMIT 1) AS top_xid,
       coalesce(pg_sequence_last_value('notify.outbox_id_seq'::regclass), 0) AS drawn,
       greatest((SELECT max_id FROM last),
                (SELECT max(id) FROM notify.outbox WHERE id > coalesce((SELECT max_id FROM last), 0)), 0) AS top_id

-- name: census
-- Of one partition, or of all between two ids: its rows, and how many are open. Reads it whole.
SELECT count(*) AS rows, count(*) FILTER (WHERE {open}) AS open
FROM notify.outbox o WHERE id >= $1 AND id < $2

-- name: default_census
SELECT count(*) AS rows, count(*) FILTER (WHERE {open}) AS open FROM notify.outbox_default o

-- name: lock_partition
-- Nobody writes into it any more, so nobody waits; and nothing comes in between its census and its end.
LOCK TABLE notify.{partition} IN ACCESS EXCLUSIVE MODE

-- name: drop_partition
DROP TABLE notify.{partition}

-- name: raise_sequence
-- Ids are given out above all that were copied. Never lower than they are.
SELECT setval('notify.outbox_id_seq', greatest($1, pg_sequence_last_value('notify.outbox_id_seq'::regclass), 1))

-- name: identities
-- Columns that number their rows by themselves, and the sequence behind each.
SELECT c.relname AS table_name, a.attname AS column_name,
       pg_get_serial_sequence(format('notify.%I', c.relname), a.attname) AS sequence
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p') AND a.attidentity <> '' ORDER BY 1, 2

-- name: raise_identity
-- As raise_sequence. The table is read whole where no index has the column.
SELECT setval('{sequence}', greatest((SELECT max({column}) FROM notify.{table}), pg_sequence_last_value('{sequence}'), 1))

-- name: snapshot
-- The first statement of its transaction, before that has an id: what it sees is in the new first tick.
SELECT pg_current_snapshot()::text

-- name: take_lead
-- For as long as the transaction lasts nobody else can: a relay waits for the row. Nothing where one leads.
INSERT INTO notify.relay_lease AS l (name, holder, epoch, expires_at) VALUES ('relay', 'rebase', 1, '-infinity')
ON CONFLICT (name) DO UPDATE SET holder = 'rebase', epoch = l.epoch + 1, expires_at = '-infinity'
  WHERE l.expires_at < clock_timestamp()
RETURNING epoch

-- name: renew_open
-- The open rows become this transaction's, so the next tick finds them, in order of their ids.
UPDATE notify.outbox o SET xid = pg_current_xact_id() WHERE {open}

-- name: delete_settled
-- What is left of the copy: nothing needs it, and its transaction ids would one day look new.
DELETE FROM notify.outbox WHERE xid <> pg_current_xact_id()

-- name: renumber
-- Where ids were given out twice, because producers wrote before the sequence was raised, the later row of each gets a
-- new one, above all ($1): an entry's id in a stream is made of it. Not a producer's row any more, so no trigger takes
-- it for a new one.
UPDATE notify.outbox o SET id = $1 + place_in_line, origin = 'schedule'
FROM (SELECT part, place, row_number() OVER (ORDER BY created_at) AS place_in_line
      FROM (SELECT tableoid AS part, ctid AS place, created_at,
                   row_number() OVER (PARTITION BY id ORDER BY created_at) AS nth
            FROM notify.outbox) every_row
      WHERE nth > 1) twice
WHERE o.tableoid = part AND o.ctid = place

-- name: delete_ticks
DELETE FROM notify.relay_ticks

-- name: first_tick
-- Of this cluster: it holds nothing, and what its snapshot does not see is new. Later than all ticks before, so that
-- ids go on growing in a stream that kept entries of theirs. Its max_id is where ids must go on from: until the
-- sequence has been raised, no relay takes this log for its own.
INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)
SELECT $1, greatest($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint), $3::text::pg_snapshot, '{}',
       0, 0, greatest($4::bigint, (SELECT max(id) FROM notify.outbox))
RETURNING max_id
