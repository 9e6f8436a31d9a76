-- The log that producers write and the relay reads. Rows are never updated or deleted one by one: partitions are
-- made ahead and dropped whole. xid is what ticks are cut by (docs/architecture.md), the index serves exactly that.
CREATE SEQUENCE notify.outbox_id_seq;

CREATE TABLE notify.outbox (
  id               bigint NOT NULL DEFAULT nextval('notify.outbox_id_seq'),
  xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
  notification_id  uuid NOT NULL DEFAULT notify.uuid7(),
  event_type       text NOT NULL,
  user_id          text NOT NULL,
  actor_user_id    text,
  channels         text[] NOT NULL DEFAULT '{inapp}',
  payload          jsonb NOT NULL DEFAULT '{}',
  template_name    text,
  dedup_key        text,
  priority         text NOT NULL DEFAULT 'normal',
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  deliver_at       timestamptz,
  expires_at       timestamptz,
  traceparent      text,
  -- Not for producers: how often a delivery was tried before, and who wrote the row.
  attempt          smallint NOT NULL DEFAULT 0,
  origin           text NOT NULL DEFAULT 'producer'
                   CONSTRAINT origin_is_producer_or_schedule CHECK (origin IN ('producer', 'schedule'))
) PARTITION BY RANGE (id);
CREATE INDEX outbox_xid_id ON notify.outbox (xid, id);

-- What no range catches. It stays empty while the relay keeps partitions ahead; rows in it are relayed all the same.
CREATE TABLE notify.outbox_default PARTITION OF notify.outbox DEFAULT;

-- Makes the notification in the producer's own transaction. Returns NULL (INSERT 0 0) where nothing is to be relayed
-- now: a repeat of a dedup_key, or a delivery for later. notify.last_id then names the notification concerned.
CREATE FUNCTION notify.outbox_accept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known text[];
  odd   text;
  first uuid;
BEGIN
  SELECT array_agg(name ORDER BY name) INTO known FROM notify.channels;
  IF NOT NEW.channels <@ known OR array_position(NEW.channels, NULL) IS NOT NULL THEN
    SELECT c INTO odd FROM unnest(NEW.channels) AS c WHERE c <> ALL (known) OR c IS NULL LIMIT 1;
    RAISE EXCEPTION 'channel % in column "channels" is not known', coalesce(quote_literal(odd), 'NULL')
      USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'channels',
            CONSTRAINT = 'channels_are_known', HINT = 'Known channels: ' || array_to_string(known, ', ') || '.';
  END IF;
  IF cardinality(NEW.channels) > 1
     AND cardinality(NEW.channels) <> (SELECT count(DISTINCT c) FROM unnest(NEW.channels) AS c) THEN
    RAISE EXCEPTION 'a channel stands twice in column "channels": %', NEW.channels
      USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'channels',
            CONSTRAINT = 'channels_are_distinct';
  END IF;
  IF NEW.template_name IS NOT NULL
     AND NOT EXISTS (SELECT FROM notify.templates WHERE name = NEW.template_name) THEN
    RAISE EXCEPTION 'template % in column "template_name" does not exist', quote_literal(NEW.template_name)
      USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'template_name',
            CONSTRAINT = 'template_name_is_known',
            HINT = 'Add it to notify.templates first, or leave template_name out.';
  END IF;

  INSERT INTO notify.notifications
    (id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
     created_at, deliver_at, expires_at, traceparent)
  VALUES
    (NEW.notification_id, NEW.event_type, NEW.user_id, NEW.actor_user_id, NEW.channels, NEW.payload,
     NEW.template_name, NEW.dedup_key, NEW.priority, NEW.created_at, NEW.deliver_at, NEW.expires_at,
     NEW.traceparent)
  -- Waits for an uncommitted row of the same key, so two transactions can never both be first.
  ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING;
  IF NOT FOUND THEN
    SELECT id INTO first FROM notify.notifications WHERE dedup_key = NEW.dedup_key;
    PERFORM set_config('notify.last_id', first::text, true);
    RETURN NULL;
  END IF;

  IF NEW.deliver_at > clock_timestamp() THEN
    INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
    VALUES (NEW.deliver_at, NEW.notification_id, NEW.channels, 'deliver_at');
    PERFORM set_config('notify.last_id', NEW.notification_id::text, true);
    RETURN NULL;
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER outbox_accept BEFORE INSERT ON notify.outbox
  FOR EACH ROW WHEN (NEW.origin = 'producer') EXECUTE FUNCTION notify.outbox_accept();

-- Wake-up. The flag is a sequence because a sequence is read outside MVCC: a producer sees what the relay set last,
-- at any isolation level. 2 is awake; anything else, and what cannot be read, counts as asleep. The test stands in
-- WHEN, so while the relay is awake not even the function is called: a NOTIFY takes a database-wide lock at commit.
CREATE SEQUENCE notify.relay_flag;

CREATE FUNCTION notify.wake_relay() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('notify_relay', '');
  RETURN NULL;
END
$$;
CREATE TRIGGER outbox_wake AFTER INSERT ON notify.outbox FOR EACH STATEMENT
  WHEN (pg_sequence_last_value('notify.relay_flag'::regclass) IS DISTINCT FROM 2)
  EXECUTE FUNCTION notify.wake_relay();
CREATE TRIGGER scheduled_wake AFTER INSERT ON notify.scheduled FOR EACH STATEMENT
  WHEN (pg_sequence_last_value('notify.relay_flag'::regclass) IS DISTINCT FROM 2)
  EXECUTE FUNCTION notify.wake_relay();

-- Ticks: the rows of tick n are those visible in its snapshot and not in the one before. Their stream ids are
-- <ms>-<outbox id>. tops: the last id in each stream when the tick was made. behind: streams that were not kept up
-- with the ticks (full, or refilled after a loss). solo: the one transaction of a tick too big for one page.
CREATE TABLE notify.relay_ticks (
  no        bigint PRIMARY KEY,
  ms        bigint NOT NULL CONSTRAINT relay_ticks_ms UNIQUE,
  snapshot  pg_snapshot NOT NULL,
  tops      jsonb NOT NULL,
  behind    text[] NOT NULL DEFAULT '{}',
  solo      xid8,
  rows      integer NOT NULL,
  bytes     bigint NOT NULL,
  max_id    bigint NOT NULL              -- highest outbox id of the tick: tells when its partition may go
);

-- Who leads, for economy only: correctness rests on relay_ticks' keys and on the streams' ids.
CREATE TABLE notify.relay_lease (
  name        text PRIMARY KEY,
  holder      text NOT NULL,
  epoch       bigint NOT NULL,
  expires_at  timestamptz NOT NULL
);

-- Adds one partition [from_id, to_id). CREATE … LIKE + ATTACH takes a lock that lets inserts pass; CREATE …
-- PARTITION OF would not. Owner's rights, because only an owner may attach.
CREATE FUNCTION notify.outbox_add_partition(from_id bigint, to_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  part text := 'outbox_p' || lpad(from_id::text, 19, '0');
BEGIN
  EXECUTE format('CREATE TABLE notify.%I (LIKE notify.outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
  EXECUTE format('ALTER TABLE notify.outbox ATTACH PARTITION notify.%I FOR VALUES FROM (%L) TO (%L)', part, from_id, to_id);
  RETURN part;
END
$$;

-- Drops one partition whole, unless it holds a row that `ticked` does not see: it may be in no tick yet. Looked at
-- under the lock, so that no row comes in between. The short lock_timeout makes it give up rather than queue
-- producers behind it.
CREATE FUNCTION notify.outbox_drop_partition(part text, ticked pg_snapshot) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  open_row boolean;
BEGIN
  IF part !~ '^outbox_p[0-9]{19}$' THEN
    RAISE EXCEPTION '% is not a partition of notify.outbox', quote_literal(part) USING ERRCODE = 'check_violation';
  END IF;
  EXECUTE format('LOCK TABLE notify.%I IN ACCESS EXCLUSIVE MODE', part);
  -- By the index (xid, id) from its upper end: what the snapshot sees whole lies below its xmin.
  EXECUTE format('SELECT EXISTS (SELECT FROM notify.%I WHERE xid >= pg_snapshot_xmin($1)
                                 AND NOT pg_visible_in_snapshot(xid, $1))', part)
    INTO open_row USING ticked;
  IF NOT open_row THEN
    EXECUTE format('DROP TABLE notify.%I', part);
  END IF;
  RETURN NOT open_row;
END
$$;

SELECT notify.outbox_add_partition(0, 1000000);
