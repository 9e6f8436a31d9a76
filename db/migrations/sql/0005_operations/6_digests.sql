-- As in 0003, but that nothing joins a digest that came to its end without being closed: one that was canceled, or whose
-- recipient had gone. What joined it would wait in it for ever. The open one of a key, by the unique index of these; its
-- delivery by primary key.
CREATE OR REPLACE FUNCTION notify.collect(notification uuid, by_channel text, with_key text, closes timestamptz)
RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n       notify.notifications;
  digest  uuid;
  opened  boolean;
BEGIN
  SELECT * INTO n FROM notify.notifications WHERE id = notification;
  UPDATE notify.digests g SET closed_at = clock_timestamp()
  WHERE g.user_id = n.user_id AND g.channel = by_channel AND g.key = with_key AND g.closed_at IS NULL
    AND EXISTS (
      SELECT FROM notify.deliveries d
      WHERE d.notification_id = g.id AND d.channel = by_channel
        AND d.status <> ALL ('{pending,sending,retrying,deferred}') OFFSET 0);
  INSERT INTO notify.digests AS d (id, user_id, channel, key, closes_at)
  VALUES (notify.uuid7(), n.user_id, by_channel, with_key, closes)
  ON CONFLICT (user_id, channel, key) WHERE closed_at IS NULL DO UPDATE SET key = excluded.key
  RETURNING d.id, d.xmax = 0 INTO digest, opened;
  IF opened THEN
    INSERT INTO notify.notifications
      (id, event_type, user_id, channels, payload, template_name, priority, created_at, traceparent, is_digest)
    VALUES (digest, n.event_type, n.user_id, ARRAY[by_channel], '{}', n.template_name, n.priority, clock_timestamp(),
            n.traceparent, true);
    INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
    VALUES (closes, digest, ARRAY[by_channel], 'digest');
  END IF;
  INSERT INTO notify.digest_items (notification_id, channel, digest_id) VALUES (notification, by_channel, digest)
  ON CONFLICT (notification_id, channel) DO UPDATE SET digest_id = excluded.digest_id, left_out = NULL;
  RETURN digest;
END
$$;
