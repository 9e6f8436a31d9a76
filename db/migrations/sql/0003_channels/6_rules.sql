-- The rules of sending: preferences by category, quiet hours, caps, digests, escalation, cancelling, and how a
-- channel retries. docs/channels/rules.md says what they mean. Checks of new columns are NOT VALID: rows from before
-- hold NULL, and to look at them all would keep producers waiting.

-- What a producer may ask for.
ALTER TABLE notify.outbox
  ADD COLUMN digest_key text, ADD COLUMN digest_window integer,
  ADD COLUMN escalate_after integer, ADD COLUMN escalate_channels text[];
GRANT INSERT (digest_key, digest_window, escalate_after, escalate_channels) ON notify.outbox TO outbox_producer;

ALTER TABLE notify.notifications
  ADD COLUMN digest_key text, ADD COLUMN digest_window integer,
  ADD COLUMN escalate_after integer, ADD COLUMN escalate_channels text[],
  -- One that the service has made: it carries what notify.digest_items lists.
  ADD COLUMN is_digest boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT digest_window_is_1_to_604800_seconds CHECK (digest_window BETWEEN 1 AND 604800) NOT VALID,
  ADD CONSTRAINT digest_window_is_given_with_digest_key
    CHECK (digest_window IS NULL OR digest_key IS NOT NULL) NOT VALID,
  ADD CONSTRAINT escalate_after_is_1_to_2592000_seconds CHECK (escalate_after BETWEEN 1 AND 2592000) NOT VALID,
  ADD CONSTRAINT escalate_channels_are_given_with_escalate_after
    CHECK ((escalate_after IS NULL) = (escalate_channels IS NULL)) NOT VALID;

-- Waits of every kind. deferrals counts the times that a delivery was put off without an attempt: an entry carries
-- attempts + deferrals, so that one which a refill brings back does not overtake the one that is scheduled.
ALTER TABLE notify.deliveries
  ADD COLUMN deferrals smallint NOT NULL DEFAULT 0,
  DROP CONSTRAINT delivery_status_is_known,
  ADD CONSTRAINT delivery_status_is_known
    CHECK (status IN ('pending', 'sending', 'retrying', 'deferred', 'digested', 'delivered', 'failed', 'suppressed',
                      'canceled', 'expired', 'unknown')) NOT VALID;
ALTER TABLE notify.scheduled
  DROP CONSTRAINT reason_is_deliver_at_retry_or_redrive,
  ADD CONSTRAINT scheduled_reason_is_known
    CHECK (reason IN ('deliver_at', 'retry', 'redrive', 'quiet_hours', 'cap', 'digest', 'escalation')) NOT VALID;

-- How a channel retries; NULL takes the setting of the installation. rules: quiet_hours, cap, digest, urgent.
ALTER TABLE notify.channels
  ADD COLUMN retry_base real CONSTRAINT retry_base_is_above_0_seconds CHECK (retry_base > 0),
  ADD COLUMN retry_cap real CONSTRAINT retry_cap_is_above_0_seconds CHECK (retry_cap > 0),
  ADD COLUMN retry_jitter real CONSTRAINT retry_jitter_is_0_to_1 CHECK (retry_jitter BETWEEN 0 AND 1),
  ADD COLUMN retry_deadline integer CONSTRAINT retry_deadline_is_above_0_seconds CHECK (retry_deadline > 0),
  ADD COLUMN rules jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT rules_are_a_json_object CHECK (jsonb_typeof(rules) = 'object');

-- Exact event types, 'order.*' for all that begin so, '*' for all. What was there before and is neither matches nothing.
ALTER TABLE notify.user_channel_prefs ADD CONSTRAINT event_type_is_a_type_or_a_category
  CHECK (event_type ~ '^([A-Za-z0-9][A-Za-z0-9_.:-]{0,127}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,125}[.:]\*|\*)$') NOT VALID;

-- Somebody's quiet hours on every channel that leaves the house, unless a preference says otherwise.
ALTER TABLE notify.recipients ADD COLUMN quiet_hours jsonb
  CONSTRAINT quiet_hours_are_a_json_object CHECK (jsonb_typeof(quiet_hours) = 'object');

-- A window begins with the first message counted and ends a fixed time later; the next one begins it anew.
CREATE TABLE notify.caps (
  user_id  text NOT NULL,
  channel  text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  scope    text NOT NULL,                -- the event types that share it, as the preference names them
  used     integer NOT NULL,
  ends_at  timestamptz NOT NULL,
  PRIMARY KEY (user_id, channel, scope)
) WITH (fillfactor = 50);

-- What has been counted, so that a retry or a claim made twice is not counted twice.
CREATE TABLE notify.cap_slots (
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channel          text NOT NULL,
  PRIMARY KEY (notification_id, channel)
);

-- The open one of a (user, channel, key) collects; its lock orders those who join and the one who closes it.
CREATE TABLE notify.digests (
  id         uuid PRIMARY KEY REFERENCES notify.notifications ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  user_id    text NOT NULL,
  channel    text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  key        text NOT NULL,
  closes_at  timestamptz NOT NULL,
  closed_at  timestamptz
);
CREATE UNIQUE INDEX digests_open ON notify.digests (user_id, channel, key) WHERE closed_at IS NULL;

CREATE TABLE notify.digest_items (
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channel          text NOT NULL,
  digest_id        uuid NOT NULL REFERENCES notify.digests ON DELETE CASCADE,
  place            bigint GENERATED ALWAYS AS IDENTITY,
  left_out         text CONSTRAINT left_out_is_canceled_or_expired CHECK (left_out IN ('canceled', 'expired')),
  PRIMARY KEY (notification_id, channel)
);
CREATE INDEX digest_items_digest_id ON notify.digest_items (digest_id, place);

GRANT SELECT, INSERT, UPDATE, DELETE ON notify.caps, notify.cap_slots, notify.digests, notify.digest_items TO outbox_app;
GRANT SELECT ON notify.caps, notify.cap_slots, notify.digests, notify.digest_items TO outbox_readonly;

-- Takes one of the window's places for a delivery. NULL: it has one. Otherwise it is full until this moment. A window
-- whose length was shortened since ends by the new length.
CREATE FUNCTION notify.take_slot(notification uuid, to_user text, by_channel text, in_scope text, most integer, per interval)
RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c     notify.caps;
  ends  timestamptz;
BEGIN
  IF EXISTS (SELECT FROM notify.cap_slots WHERE notification_id = notification AND channel = by_channel) THEN
    RETURN NULL;
  END IF;
  INSERT INTO notify.caps (user_id, channel, scope, used, ends_at)
  VALUES (to_user, by_channel, in_scope, 0, '-infinity') ON CONFLICT DO NOTHING;
  SELECT * INTO c FROM notify.caps
  WHERE user_id = to_user AND channel = by_channel AND scope = in_scope FOR NO KEY UPDATE;
  ends := clock_timestamp() + per;  -- under the lock, so that time does not run backwards from one to the next
  IF c.ends_at <= ends - per THEN
    c.used := 0;
  ELSE
    ends := least(c.ends_at, ends);
  END IF;
  IF c.used >= most THEN
    RETURN ends;
  END IF;
  UPDATE notify.caps SET used = c.used + 1, ends_at = ends
  WHERE user_id = to_user AND channel = by_channel AND scope = in_scope;
  INSERT INTO notify.cap_slots (notification_id, channel) VALUES (notification, by_channel);
  RETURN NULL;
END
$$;

-- Puts a notification into the open digest of its key, and opens one where there is none: a notification of its own,
-- due when the window ends. Whoever comes while it is being closed waits for that, and opens the next.
CREATE FUNCTION notify.collect(notification uuid, by_channel text, with_key text, closes timestamptz) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n       notify.notifications;
  digest  uuid;
  opened  boolean;
BEGIN
  SELECT * INTO n FROM notify.notifications WHERE id = notification;
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

-- Withdraws a notification, up to the provider's call. It may run in the producer's own transaction for as long as that
-- lasts, so it locks nothing that a worker's batch would wait for: what waits in `scheduled` is taken out and settled
-- here, what is on the road is settled by the worker that claims it and reads canceled_at. Gives for each channel what it
-- found, and nothing where there is no such notification. Repeating it changes nothing.
CREATE FUNCTION notify.cancel(notification uuid) RETURNS TABLE (channel text, status text, stopped boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE notify.notifications n SET canceled_at = clock_timestamp() WHERE n.id = notification AND n.canceled_at IS NULL;
  WITH waiting AS (
    DELETE FROM notify.scheduled s WHERE s.notification_id = notification RETURNING s.channels
  ), settled AS (
    INSERT INTO notify.deliveries AS d (notification_id, channel, status, attempts_allowed, reason, settled_at)
    SELECT notification, c.name, 'canceled', c.max_attempts, 'canceled before it was sent', clock_timestamp()
    FROM waiting w JOIN notify.channels c ON c.name = ANY (w.channels)
    ORDER BY c.name
    ON CONFLICT ON CONSTRAINT deliveries_pkey DO UPDATE SET
      status = 'canceled', reason = excluded.reason, error_class = NULL, settled_at = excluded.settled_at
    WHERE d.status IN ('pending', 'retrying', 'deferred')
    RETURNING d.channel, d.attempts
  )
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT notification, s.channel, 'canceled', s.attempts, '{"reason": "canceled before it was sent"}' FROM settled s;
  RETURN QUERY
    SELECT c.name, coalesce(d.status, 'pending'),
           coalesce(d.status, 'pending') IN ('pending', 'retrying', 'deferred', 'canceled')
             OR d.status = 'digested' AND EXISTS (
                  SELECT FROM notify.digest_items i JOIN notify.digests g ON g.id = i.digest_id
                  WHERE i.notification_id = notification AND i.channel = c.name AND g.closed_at IS NULL)
    FROM notify.notifications n
    CROSS JOIN LATERAL unnest(n.channels) WITH ORDINALITY AS c (name, place)
    LEFT JOIN notify.deliveries d ON d.notification_id = n.id AND d.channel = c.name
    WHERE n.id = notification ORDER BY c.place;
END
$$;

-- The same by the producer's own key.
CREATE FUNCTION notify.cancel_key(dedup_key text) RETURNS TABLE (channel text, status text, stopped boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.* FROM notify.notifications n CROSS JOIN LATERAL notify.cancel(n.id) c WHERE n.dedup_key = $1
$$;

REVOKE ALL ON FUNCTION notify.take_slot(uuid, text, text, text, integer, interval),
  notify.collect(uuid, text, text, timestamptz), notify.cancel(uuid), notify.cancel_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.take_slot(uuid, text, text, text, integer, interval),
  notify.collect(uuid, text, text, timestamptz) TO outbox_app;
GRANT EXECUTE ON FUNCTION notify.cancel(uuid), notify.cancel_key(text) TO outbox_producer, outbox_app;
