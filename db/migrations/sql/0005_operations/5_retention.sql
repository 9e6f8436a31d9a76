-- What is old and at its end goes, if the operator wants that (OUTBOX_NOTIFICATION_RETENTION; docs/day-two.md).
--
-- Looks at the `most` oldest notifications behind a place in the order of (created_at, id), and takes away those that are
-- over: made longer ago than `keep`, every channel at its end since before then, no open dead letter, nothing scheduled, no
-- digest that is not over itself. What hangs on them goes with them, and the inboxes that had them are counted anew. Gives
-- the moment meant, how many were looked at, the last of them, the first that stayed, how many rows went by table, and the
-- inboxes as they are now.
--
-- It waits for nobody. Locks are taken in the order of claim, settle and erasure (deliveries, inboxes, in order of id), and
-- what another holds is left for another time. Under the locks all is looked at in statements of their own, each of
-- which sees what was committed before it. OFFSET 0 keeps each look-up an index probe for one row, whatever the planner
-- knows of the tables. Owner's rights, and a day at least: whoever has taken over the service cannot wipe away by this what
-- was done today.
CREATE FUNCTION notify.purge(
  keep interval, after_at timestamptz, after_id uuid, most integer,
  OUT before timestamptz, OUT looked integer, OUT last_at timestamptz, OUT last_id uuid,
  OUT stayed_at timestamptz, OUT stayed_id uuid, OUT purged jsonb, OUT inboxes jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  aged      uuid[];
  made      timestamptz[];
  gone      uuid[];
  digested  uuid[];
  ended     uuid[];
  mine      text[];
BEGIN
  before := now() - keep;  -- by the clock that rows were made and settled by, whatever the caller's says
  IF before IS NULL OR before > now() - interval '1 day' THEN
    RAISE 'notifications are kept for a day at least' USING ERRCODE = 'check_violation';
  END IF;
  IF NOT coalesce((SELECT i.indisvalid FROM pg_index i
                   WHERE i.indexrelid = to_regclass('notify.notifications_created_at')), false) THEN
    RAISE 'the index notify.notifications_created_at is not there yet'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'outbox migrate builds it.';
  END IF;
  SELECT coalesce(array_agg(n.id ORDER BY n.created_at, n.id), '{}'), array_agg(n.created_at ORDER BY n.created_at, n.id)
    INTO aged, made
  FROM (SELECT id, created_at FROM notify.notifications
        WHERE (created_at, id) > (after_at, after_id) AND created_at < before
        ORDER BY created_at, id LIMIT most) n;
  looked := cardinality(aged);
  last_at := made[looked];
  last_id := aged[looked];
  IF looked = 0 THEN
    purged := '{}';
    inboxes := '[]';
    RETURN;
  END IF;

  -- All deliveries of a notification, or none. A claim that is writing another one holds the notification itself.
  WITH held AS MATERIALIZED (
    SELECT notification_id FROM notify.deliveries WHERE notification_id = ANY (aged)
    ORDER BY notification_id, channel FOR UPDATE SKIP LOCKED
  )
  SELECT ARRAY(
    SELECT h.id FROM (SELECT notification_id AS id, count(*) AS deliveries FROM held GROUP BY notification_id) h
    WHERE deliveries = (SELECT count(*) FROM notify.deliveries d WHERE d.notification_id = h.id)) INTO gone;
  gone := ARRAY(SELECT id FROM notify.notifications WHERE id = ANY (gone) ORDER BY id FOR UPDATE SKIP LOCKED);

  digested := ARRAY(SELECT DISTINCT digest_id FROM notify.digest_items WHERE notification_id = ANY (gone));
  ended := ARRAY(
    SELECT n.id FROM notify.notifications n
    WHERE n.id = ANY (gone || digested)
      AND NOT EXISTS (
        SELECT FROM unnest(n.channels) AS c
        WHERE NOT EXISTS (SELECT FROM notify.deliveries d WHERE d.notification_id = n.id AND d.channel = c OFFSET 0) OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM notify.deliveries d
        WHERE d.notification_id = n.id
          AND (d.status = ANY ('{pending,sending,retrying,deferred}') OR d.settled_at IS NULL OR d.settled_at >= before)
        OFFSET 0)
      AND NOT EXISTS (  -- coalesce keeps it off the partial index of all open letters
        SELECT FROM notify.notifications_failed f
        WHERE f.notification_id = n.id AND coalesce(f.redriven_at, f.discarded_at) IS NULL OFFSET 0)
      AND NOT EXISTS (SELECT FROM notify.scheduled s WHERE s.notification_id = n.id OFFSET 0));
  gone := ARRAY(
    SELECT g.id FROM unnest(gone) AS g (id) JOIN unnest(ended) AS o (id) ON o.id = g.id
    WHERE NOT EXISTS (
      SELECT FROM notify.digest_items i
      WHERE i.notification_id = g.id AND i.digest_id <> ALL (ended) OFFSET 0));

  mine := ARRAY(
    SELECT user_id FROM notify.inbox_counters
    WHERE user_id = ANY (ARRAY(SELECT user_id FROM notify.inbox WHERE notification_id = ANY (gone)))
    ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED);
  gone := ARRAY(
    SELECT g.id FROM unnest(gone) AS g (id)
    WHERE NOT EXISTS (
      SELECT FROM notify.inbox b WHERE b.notification_id = g.id AND b.user_id <> ALL (mine) OFFSET 0));

  WITH event AS (DELETE FROM notify.delivery_events WHERE notification_id = ANY (gone) RETURNING 1),
  letter AS (DELETE FROM notify.notifications_failed WHERE notification_id = ANY (gone) RETURNING 1),
  push AS (DELETE FROM notify.push_attempts WHERE notification_id = ANY (gone) RETURNING 1),
  message AS (DELETE FROM notify.sms_messages WHERE notification_id = ANY (gone) RETURNING 1),
  report AS (DELETE FROM notify.provider_events WHERE notification_id = ANY (gone) RETURNING 1),
  delivery AS (DELETE FROM notify.deliveries WHERE notification_id = ANY (gone) RETURNING 1),
  item AS (
    DELETE FROM notify.inbox WHERE notification_id = ANY (gone)
    RETURNING user_id, seq, read_at IS NULL AND archived_at IS NULL AS counts),
  lost AS (
    SELECT user_id, count(*) FILTER (WHERE counts) AS unread, array_agg(seq ORDER BY seq) AS seqs FROM item GROUP BY user_id),
  inbox AS (
    UPDATE notify.inbox_counters c SET unread = greatest(c.unread - lost.unread, 0), version = c.version + 1
    FROM lost WHERE c.user_id = ANY (mine) AND c.user_id = lost.user_id
    RETURNING c.user_id, c.last_seq, c.unread, c.version, lost.seqs),
  notification AS (  -- what else there is goes by its foreign keys
    DELETE FROM notify.notifications WHERE id = ANY (gone) RETURNING 1)
  SELECT jsonb_build_object(
           'notifications', (SELECT count(*) FROM notification), 'deliveries', (SELECT count(*) FROM delivery),
           'delivery_events', (SELECT count(*) FROM event), 'inbox', (SELECT count(*) FROM item),
           'notifications_failed', (SELECT count(*) FROM letter), 'push_attempts', (SELECT count(*) FROM push),
           'sms_messages', (SELECT count(*) FROM message), 'provider_events', (SELECT count(*) FROM report)),
         (SELECT coalesce(jsonb_agg(to_jsonb(inbox)), '[]') FROM inbox)
    INTO purged, inboxes;

  SELECT o.made_at, o.id INTO stayed_at, stayed_id
  FROM unnest(aged, made) WITH ORDINALITY AS o (id, made_at, place)
  WHERE NOT EXISTS (SELECT FROM unnest(gone) AS g (id) WHERE g.id = o.id)
  ORDER BY o.place LIMIT 1;
END
$$;
REVOKE ALL ON FUNCTION notify.purge(interval, timestamptz, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.purge(interval, timestamptz, uuid, integer) TO outbox_app;
