-- Where a user's webhooks go, on a channel of kind webhook whose config has no URL for all. Secrets are references.
CREATE TABLE notify.webhook_endpoints (
  channel     text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  user_id     text NOT NULL
              CONSTRAINT endpoint_user_id_is_1_to_200_printable_characters
              CHECK (length(user_id) BETWEEN 1 AND 200 AND user_id !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'),
  url         text NOT NULL
              CONSTRAINT url_is_http_or_a_reference
              CHECK (length(url) <= 2000 AND url ~ '^(https?://[\u0021-\u007e]+|env:[A-Za-z_][A-Za-z0-9_]*)$'),
  secrets     text[] NOT NULL DEFAULT '{}'   -- none: those of the channel
              CONSTRAINT secrets_are_up_to_5_references
              CHECK (cardinality(secrets) <= 5 AND array_position(secrets, NULL) IS NULL AND '' <> ALL (secrets)
                     AND array_to_string(secrets, ',') ~ '^(env:[A-Za-z_][A-Za-z0-9_]*(,|$))*$'),
  enabled     boolean NOT NULL DEFAULT true,
  reason      text,                          -- why the service switched it off
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, user_id)
);

-- Ordered endpoints. A delivery's place is the id of its first stream entry (<ms>-<row>), kept for as long as it is
-- open, because a retry comes back under a later one. endpoint '' is the channel's own, else it is the user's id.
CREATE TABLE notify.endpoint_queue (
  channel          text NOT NULL,
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  endpoint         text NOT NULL,
  ms               bigint NOT NULL,
  row              bigint NOT NULL,
  PRIMARY KEY (channel, notification_id)
);
CREATE INDEX endpoint_queue_place ON notify.endpoint_queue (channel, endpoint, ms, row);
CREATE INDEX endpoint_queue_notification_id ON notify.endpoint_queue (notification_id);

-- Who is sending to an ordered endpoint at this moment. It runs out with the delivery's lease.
CREATE TABLE notify.endpoint_turns (
  channel          text NOT NULL,
  endpoint         text NOT NULL,
  notification_id  uuid NOT NULL,
  held_until       timestamptz NOT NULL,
  PRIMARY KEY (channel, endpoint)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON notify.webhook_endpoints, notify.endpoint_queue, notify.endpoint_turns
  TO outbox_app;
GRANT SELECT ON notify.webhook_endpoints, notify.endpoint_queue, notify.endpoint_turns TO outbox_readonly;

-- A channel that has something open cannot go: no worker would read its streams any more. Producers' transactions
-- are waited for, briefly, and new ones wait: what they check against must not change under them. The last
-- tick names every stream that was written to before it; its own rows and later ones are found by the index (xid, id).
CREATE FUNCTION notify.channel_goes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  use   text;
  lanes text[] := ARRAY[OLD.name, OLD.name || '.urgent', OLD.name || '.bulk'];
BEGIN
  LOCK TABLE notify.outbox IN SHARE MODE;
  SELECT uses.why INTO use FROM (
    SELECT 'notifications were sent to it' AS why FROM notify.relay_ticks t
      WHERE t.no = (SELECT max(no) FROM notify.relay_ticks)
        AND (t.tops ?| lanes OR t.behind && lanes)
    UNION ALL
    SELECT 'notifications were sent to it' FROM notify.outbox o
      WHERE o.xid >= coalesce((SELECT pg_snapshot_xmin(snapshot) FROM notify.relay_ticks ORDER BY no DESC OFFSET 1 LIMIT 1), '0')
        AND OLD.name = ANY (o.channels)
    UNION ALL
    SELECT 'notifications are scheduled for it' FROM notify.scheduled s WHERE OLD.name = ANY (s.channels)
    UNION ALL
    SELECT 'it has dead letters' FROM notify.notifications_failed f WHERE f.channel = OLD.name AND f.redriven_at IS NULL
  ) AS uses LIMIT 1;
  IF use IS NOT NULL THEN
    RAISE EXCEPTION 'channel % cannot be removed: %', quote_literal(OLD.name), use
      USING ERRCODE = 'restrict_violation', SCHEMA = 'notify', TABLE = 'channels', CONSTRAINT = 'channel_is_unused',
            HINT = 'Switch it off instead: enabled = false.';
  END IF;
  RETURN OLD;
END
$$;
REVOKE ALL ON FUNCTION notify.channel_goes() FROM PUBLIC;
CREATE TRIGGER channel_goes BEFORE DELETE ON notify.channels
  FOR EACH ROW EXECUTE FUNCTION notify.channel_goes();
