-- For teams who have the outbox table of Debezium's event router (id, aggregatetype, aggregateid, type, payload): the same
-- INSERT makes a notification here. Its events are about things, not about people; a route says who is told of which
-- (docs/sql.md, "From Debezium").
CREATE TABLE notify.event_routes (
  aggregatetype  text NOT NULL,                       -- '*': of any that has no row of its own
  type           text NOT NULL,                       -- likewise
  user_path      text[]                               -- where the payload has the user's id; NULL: it is aggregateid
                 CONSTRAINT user_path_is_1_to_8_keys CHECK (cardinality(user_path) BETWEEN 1 AND 8),
  event_type     text,                                -- NULL: as type
  channels       text[] NOT NULL DEFAULT '{inapp}',   -- none: nobody is told, and that is meant
  template_name  text,
  priority       text NOT NULL DEFAULT 'normal'
                 CONSTRAINT route_priority_is_urgent_normal_or_bulk CHECK (priority = ANY ('{urgent,normal,bulk}')),
  PRIMARY KEY (aggregatetype, type)
);

-- It takes rows and shows none. "timestamp" is taken because many have it; when a row was written is Postgres' to say.
-- tracingspancontext is what Debezium's extension for Quarkus writes: properties, traceparent among them.
CREATE VIEW notify.outboxevent AS
SELECT NULL::uuid AS id, NULL::varchar(255) AS aggregatetype, NULL::varchar(255) AS aggregateid,
       NULL::varchar(255) AS type, NULL::jsonb AS payload, NULL::timestamptz AS "timestamp",
       NULL::varchar(256) AS tracingspancontext
WHERE false;

-- As the owner, for a producer may not read routes; the row that it writes is the producer's own, under every rule of
-- notify.outbox. The event's id is the notification's, and its dedup_key: a second row of the same id inserts nothing.
CREATE FUNCTION notify.outboxevent_accept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  route   notify.event_routes;
  person  text;
BEGIN
  SELECT * INTO route FROM notify.event_routes r
  WHERE r.aggregatetype IN (NEW.aggregatetype, '*') AND r.type IN (NEW.type, '*')
  ORDER BY r.aggregatetype = '*', r.type = '*' LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no route for events of aggregatetype %, type %', quote_nullable(NEW.aggregatetype), quote_nullable(NEW.type)
      USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outboxevent', CONSTRAINT = 'event_has_a_route',
            HINT = 'Add one to notify.event_routes; one with channels = ''{}'' says that nobody is told.';
  END IF;
  IF cardinality(route.channels) = 0 THEN
    RETURN NULL;
  END IF;
  person := CASE WHEN route.user_path IS NULL THEN NEW.aggregateid ELSE NEW.payload #>> route.user_path END;
  IF person IS NULL THEN
    RAISE EXCEPTION 'the event names no user: its %', CASE WHEN route.user_path IS NULL THEN 'aggregateid is NULL'
                    ELSE 'payload has nothing at ' || quote_literal(route.user_path::text) END
      USING ERRCODE = 'not_null_violation', SCHEMA = 'notify', TABLE = 'outboxevent', COLUMN = 'payload',
            HINT = 'user_path of its row in notify.event_routes says where the user''s id stands.';
  END IF;
  INSERT INTO notify.outbox
    (notification_id, event_type, user_id, channels, payload, template_name, dedup_key, priority, traceparent)
  VALUES
    (coalesce(NEW.id, notify.uuid7()), coalesce(route.event_type, NEW.type), person, route.channels,
     coalesce(NEW.payload, '{}'), route.template_name, 'event:' || NEW.id, route.priority,
     substring(NEW.tracingspancontext FROM 'traceparent=([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})'));
  RETURN CASE WHEN FOUND THEN NEW END;
END
$$;
CREATE TRIGGER outboxevent_accept INSTEAD OF INSERT ON notify.outboxevent
  FOR EACH ROW EXECUTE FUNCTION notify.outboxevent_accept();

REVOKE ALL ON FUNCTION notify.outboxevent_accept() FROM PUBLIC;
GRANT INSERT ON notify.outboxevent TO outbox_producer;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.event_routes TO outbox_app;
GRANT SELECT ON notify.event_routes TO outbox_readonly;
