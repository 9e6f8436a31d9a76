-- Dead letters that somebody has looked at and wants no more of; and which ones the stream of dead letters has seen.
ALTER TABLE notify.notifications_failed ADD COLUMN discarded_at timestamptz, ADD COLUMN mirrored_at timestamptz;
DROP INDEX notify.notifications_failed_open;
CREATE INDEX notifications_failed_open ON notify.notifications_failed (channel, failed_at)
  WHERE redriven_at IS NULL AND discarded_at IS NULL;
CREATE INDEX notifications_failed_unmirrored ON notify.notifications_failed (failed_at, id) WHERE mirrored_at IS NULL;

-- The stream of dead letters has the name that a channel called dlq would have.
ALTER TABLE notify.channels ADD CONSTRAINT channel_name_is_not_dlq CHECK (name <> 'dlq');

-- Letters on their way again: same notification, as many attempts more as the channel allows, due at once, or so many
-- a second where that is asked for. What a delivery has come to is judged under its row's lock, so a delivered one is
-- never sent a second time; canceled and expired ones stay. Letters and deliveries by primary key, the latter in order
-- of id, as claim and settle take them. Gives those that have begun; the others can be asked for their state.
CREATE FUNCTION notify.redrive(letters uuid[], per_second float8 DEFAULT NULL)
RETURNS TABLE (notification_id uuid, channel text)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  WITH wanted AS (
    SELECT DISTINCT f.notification_id AS id, f.channel
    FROM notify.notifications_failed f WHERE f.id = ANY (letters) AND f.redriven_at IS NULL
  ), dead AS (
    SELECT d.notification_id, d.channel, c.max_attempts
    FROM wanted w
    JOIN notify.notifications n ON n.id = w.id AND n.canceled_at IS NULL
     AND (n.expires_at IS NULL OR n.expires_at > clock_timestamp())
    JOIN notify.deliveries d ON d.notification_id = w.id AND d.channel = w.channel
     AND d.status IN ('failed', 'unknown')
    JOIN notify.channels c ON c.name = w.channel
    ORDER BY d.notification_id, d.channel
    FOR NO KEY UPDATE OF d
  ), begun AS (
    UPDATE notify.deliveries d
    SET status = 'pending', attempts_allowed = d.attempts + dead.max_attempts, settled_at = NULL
    FROM dead WHERE d.notification_id = dead.notification_id AND d.channel = dead.channel
    RETURNING d.notification_id, d.channel, d.attempts, d.deferrals
  ), due AS (
    INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
    SELECT clock_timestamp()
             + make_interval(secs => coalesce((row_number() OVER (ORDER BY b.notification_id) - 1) / per_second, 0)),
           b.notification_id, ARRAY[b.channel], b.attempts + b.deferrals, 'redrive'
    FROM begun b
  ), told AS (
    INSERT INTO notify.delivery_events (notification_id, channel, event, attempt)
    SELECT b.notification_id, b.channel, 'redriven', b.attempts FROM begun b
  ), marked AS (
    UPDATE notify.notifications_failed f SET redriven_at = clock_timestamp()
    FROM begun b WHERE f.notification_id = b.notification_id AND f.channel = b.channel AND f.redriven_at IS NULL
  )
  SELECT b.notification_id, b.channel FROM begun b
$$;

-- Letters that shall be listed no more. Nothing is deleted: the delivery stays failed, and its timeline says so.
CREATE FUNCTION notify.discard(letters uuid[]) RETURNS SETOF uuid
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  WITH gone AS (
    UPDATE notify.notifications_failed f SET discarded_at = clock_timestamp()
    WHERE f.id = ANY (letters) AND f.redriven_at IS NULL AND f.discarded_at IS NULL
    RETURNING f.id, f.notification_id, f.channel, f.attempts
  ), told AS (
    INSERT INTO notify.delivery_events (notification_id, channel, event, attempt)
    SELECT g.notification_id, g.channel, 'discarded', g.attempts FROM gone g WHERE g.notification_id IS NOT NULL
  )
  SELECT g.id FROM gone g
$$;
REVOKE ALL ON FUNCTION notify.redrive(uuid[], float8), notify.discard(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.redrive(uuid[], float8), notify.discard(uuid[]) TO outbox_app;
