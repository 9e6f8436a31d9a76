-- name: server
-- What this server is and how it is set, for this login. Settings that a login may override are asked as it sees them.
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       pg_is_in_recovery() AS in_recovery,
       current_setting('fsync')::bool AS fsync,
       current_setting('full_page_writes')::bool AS full_page_writes,
       current_setting('synchronous_commit') <> 'off' AS synchronous_commit,
       current_setting('data_checksums')::bool AS checksums,
       current_setting('autovacuum')::bool AS autovacuum,
       current_setting('track_counts')::bool AS track_counts,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted

-- name: connections
-- How many there may be for such as us, and are. A row for each client; the servers' own workers do not count.
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
       count(*) AS used, count(*) FILTER (WHERE application_name LIKE 'outbox-%') AS ours
FROM pg_stat_activity WHERE backend_type = 'client backend'

-- name: long_transactions
-- Whoever holds back vacuum, and the drop of a partition. Of other logins only members of pg_read_all_stats are told;
-- `sees_all` says whether this one is.
SELECT pid, usename, application_name, state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity
WHERE xact_start < clock_timestamp() - make_interval(secs => $1) AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 5

-- name: sees_all
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')

-- name: prepared
-- Two-phase transactions that nobody has ended; they hold locks and back vacuum for ever, through restarts.
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - make_interval(secs => $1) ORDER BY prepared LIMIT 5

-- name: slots
-- Replication slots, and how many bytes of WAL each keeps from being removed: none where it has not been used yet, and
-- none any more once it is lost.
SELECT slot_name, active, wal_status,
       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn), 0)::bigint AS bytes
FROM pg_replication_slots ORDER BY bytes DESC

-- name: notification_queue
-- From 0 to 1. At 1 every commit that notifies fails.
SELECT pg_notification_queue_usage()

-- name: wraparound
-- How far the oldest transaction id lies back: at two thousand million Postgres stops taking writes.
SELECT age(datfrozenxid)::bigint AS age, current_setting('autovacuum_freeze_max_age')::bigint AS freeze_at
FROM pg_database WHERE datname = current_database()

-- name: bloat
-- Tables of ours that vacuum does not keep up with, or may not touch.
SELECT c.relname AS name, coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
       coalesce('autovacuum_enabled=false' = ANY (c.reloptions), false) AS off
FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind = 'r'
ORDER BY dead DESC

-- name: login
-- What this login is, beyond what the service needs.
SELECT current_user AS name, r.rolsuper AS superuser, r.rolcreaterole AS createrole, r.rolcreatedb AS createdb,
       r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
       pg_has_role(current_user, n.nspowner, 'MEMBER') AS owns,
       CASE WHEN to_regrole('outbox_app') IS NULL THEN false
            ELSE pg_has_role(current_user, 'outbox_app', 'MEMBER') END AS is_app
FROM pg_roles r, pg_namespace n WHERE r.rolname = current_user AND n.nspname = 'notify'

-- name: lacking
-- What outbox_app may do to a table and this login may not. By what the catalogue grants the group, so that there is
-- no second list of it.
SELECT c.relname AS name, string_agg(p.privilege, ', ' ORDER BY p.privilege) AS privileges
FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(privilege)
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p', 'v')
  AND to_regrole('outbox_app') IS NOT NULL
  AND has_table_privilege('outbox_app', c.oid, p.privilege) AND NOT has_table_privilege(c.oid, p.privilege)
GROUP BY c.relname ORDER BY c.relname

-- name: excess
-- Who may change or read what only the service should: producers, and everybody. Tables and columns.
SELECT w.role, c.relname AS name, string_agg(p.privilege, ', ' ORDER BY p.privilege) AS privileges
FROM (VALUES ('public'), ('outbox_producer')) AS w(role)
CROSS JOIN pg_class c
CROSS JOIN unnest(ARRAY['SELECT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p(privilege)
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p')
  AND (w.role = 'public' OR to_regrole(w.role) IS NOT NULL)
  AND has_table_privilege(w.role, c.oid, p.privilege)
GROUP BY w.role, c.relname ORDER BY w.role, c.relname

-- name: rewritable
-- Whether this login could change the log, which nobody should.
SELECT has_table_privilege('notify.outbox', 'UPDATE') OR has_table_privilege('notify.outbox', 'TRUNCATE')

-- name: kept
-- What notifications take that are kept: the tables that grow with them, indexes and all. And whether the index is there by
-- which old ones are found.
SELECT (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
        WHERE c.relnamespace = 'notify'::regnamespace
          AND c.relname IN ('notifications', 'deliveries', 'delivery_events', 'inbox', 'notifications_failed',
                            'push_attempts', 'sms_messages', 'provider_events', 'digest_items'))::bigint AS bytes,
       coalesce((SELECT i.indisvalid FROM pg_index i
                 WHERE i.indexrelid = to_regclass('notify.notifications_created_at')), false) AS indexed

-- name: half_built
-- Indexes whose building beside the producers was stopped half way.
SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'notify'::regnamespace AND NOT i.indisvalid ORDER BY c.relname

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: default_rows
-- What no partition's range caught, counted up to 10,000.
SELECT count(*) FROM (SELECT FROM notify.outbox_default LIMIT 10000) r

-- name: sizes
-- Of each partition with its indexes, in bytes; the default one has no bounds.
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'notify.outbox'::regclass
ORDER BY c.relname

-- name: span
-- When the first and the last row between two ids were written. Both ends of a partition's index (xid, id).
SELECT (SELECT created_at FROM notify.outbox WHERE id >= $1 AND id < $2 ORDER BY xid, id LIMIT 1) AS first_at,
       (SELECT created_at FROM notify.outbox WHERE id >= $1 AND id < $2 ORDER BY xid DESC, id DESC LIMIT 1) AS last_at

-- name: behind
-- The lanes that the newest tick was made without. Primary key, backwards.
SELECT behind FROM notify.relay_ticks ORDER BY no DESC LIMIT 1

-- name: dead_letters
-- Open ones by channel, and how many of them came in the last hour. The partial index holds exactly the open ones.
SELECT channel, count(*) AS open, count(*) FILTER (WHERE failed_at > now() - interval '1 hour') AS recent
FROM notify.notifications_failed WHERE redriven_at IS NULL AND discarded_at IS NULL
GROUP BY channel ORDER BY channel

-- name: overdue
-- What is scheduled and was due so long ago. Index on due_at.
SELECT count(*) AS rows, coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float8 AS seconds
FROM notify.scheduled WHERE due_at < clock_timestamp() - make_interval(secs => $1)

-- name: expiring_keys
-- API keys that end soon and that somebody has used. A small table.
SELECT id, name, extract(epoch FROM expires_at - now())::float8 AS seconds
FROM notify.api_keys
WHERE revoked_at IS NULL AND expires_at BETWEEN now() AND now() + make_interval(secs => $1)
ORDER BY expires_at
