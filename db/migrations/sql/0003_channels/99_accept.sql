-- What is done with a producer's row, made cheaper; every rule, name and word from before stays (docs/performance.md, "Steady", has the figures).
SET LOCAL lock_timeout = '2s';

-- What a CHECK costs is mostly not its test: Postgres reads every expression of the table anew from its stored text for
-- each statement, even for columns that are NULL. So the longer rules stand in functions, whose plan a session keeps,
-- and which are not called for NULL (STRICT). In PL/pgSQL, because Postgres reads the text of one in SQL each time, too.
-- To change such a rule, drop the constraint and add it again: Postgres looks at no stored row when a function changes.
-- Lengths are asked apart from the regular expression: {0,127} takes 8 µs, length() and * under one.
CREATE FUNCTION notify.is_printable(value text, most integer) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN length(value) <= most AND value ~ '^[^\u0001-\u001f\u007f-\u009f\u2028\u2029]+$';
END
$$;
CREATE FUNCTION notify.is_template_name(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN length(value) <= 128 AND value ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$';
END
$$;
CREATE FUNCTION notify.is_traceparent(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN  -- the pattern says where the dashes are, the expression that there are no others
  RETURN value LIKE '__-________________________________-________________-__'
     AND value ~ '^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$';
END
$$;
CREATE FUNCTION notify.is_in_calendar(value timestamptz) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN value BETWEEN '2000-01-01+00' AND '2200-01-01+00';
END
$$;
REVOKE ALL ON FUNCTION notify.is_printable(text, integer), notify.is_template_name(text), notify.is_traceparent(text),
  notify.is_in_calendar(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.is_printable(text, integer), notify.is_template_name(text), notify.is_traceparent(text),
  notify.is_in_calendar(timestamptz) TO outbox_app;  -- checks run with the rights of whoever writes the row

-- NOT VALID: the rules are the same, and to look at all rows again would keep producers waiting.
ALTER TABLE notify.notifications
  DROP CONSTRAINT event_type_is_1_to_128_letters_digits_dots_dashes_colons,
  ADD CONSTRAINT event_type_is_1_to_128_letters_digits_dots_dashes_colons
    CHECK (length(event_type) <= 128 AND event_type ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]*$') NOT VALID,
  DROP CONSTRAINT user_id_is_1_to_200_printable_characters,
  ADD CONSTRAINT user_id_is_1_to_200_printable_characters
    CHECK (notify.is_printable(user_id, 200)) NOT VALID,
  DROP CONSTRAINT actor_user_id_is_1_to_200_printable_characters,
  ADD CONSTRAINT actor_user_id_is_1_to_200_printable_characters
    CHECK (notify.is_printable(actor_user_id, 200)) NOT VALID,
  DROP CONSTRAINT dedup_key_is_1_to_255_printable_characters,
  ADD CONSTRAINT dedup_key_is_1_to_255_printable_characters
    CHECK (notify.is_printable(dedup_key, 255)) NOT VALID,
  ADD CONSTRAINT digest_key_is_1_to_255_printable_characters
    CHECK (notify.is_printable(digest_key, 255)) NOT VALID,
  DROP CONSTRAINT template_name_is_1_to_128_letters_digits_dots_dashes,
  ADD CONSTRAINT template_name_is_1_to_128_letters_digits_dots_dashes
    CHECK (notify.is_template_name(template_name)) NOT VALID,
  DROP CONSTRAINT traceparent_is_w3c_trace_context,
  ADD CONSTRAINT traceparent_is_w3c_trace_context
    CHECK (notify.is_traceparent(traceparent)) NOT VALID,
  DROP CONSTRAINT deliver_at_is_between_2000_and_2200,
  ADD CONSTRAINT deliver_at_is_between_2000_and_2200
    CHECK (notify.is_in_calendar(deliver_at)) NOT VALID,
  DROP CONSTRAINT expires_at_is_between_2000_and_2200,
  ADD CONSTRAINT expires_at_is_between_2000_and_2200
    CHECK (notify.is_in_calendar(expires_at)) NOT VALID,
  DROP CONSTRAINT priority_is_urgent_normal_or_bulk,
  ADD CONSTRAINT priority_is_urgent_normal_or_bulk
    CHECK (priority = ANY ('{urgent,normal,bulk}')) NOT VALID;

-- A table never analysed counts as ten pages: Postgres would look up channels by index and bitmap, not on the one page.
ANALYZE notify.channels;

-- As before (0001_road/3_outbox.sql), and with what is to be told later, or only if it stays unread (6_rules.sql). What
-- is wrong with the channels is looked for only where their number says that something is, and a template only where one
-- is given. search_path stays set: with an owner's rights every name, operator and
-- trigger beneath would otherwise be the caller's to choose, and it costs a few percent of an insert.
CREATE OR REPLACE FUNCTION notify.outbox_accept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known text[];
  odd   text;
  first uuid;
  late  text[];
BEGIN
  -- As many are known as are given: then none is unknown, none is NULL and none stands twice. An array of arrays would
  -- count right, and must not pass.
  IF (SELECT count(*) FROM notify.channels WHERE name = ANY (NEW.channels)) <> cardinality(NEW.channels)
     OR array_ndims(NEW.channels) > 1 THEN
    SELECT array_agg(name ORDER BY name) INTO known FROM notify.channels;
    IF NOT NEW.channels <@ known OR array_position(NEW.channels, NULL) IS NOT NULL THEN
      SELECT c INTO odd FROM unnest(NEW.channels) AS c WHERE c <> ALL (known) OR c IS NULL LIMIT 1;
      RAISE EXCEPTION 'channel % in column "channels" is not known', coalesce(quote_literal(odd), 'NULL')
        USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'channels',
              CONSTRAINT = 'channels_are_known', HINT = 'Known channels: ' || array_to_string(known, ', ') || '.';
    END IF;
    IF cardinality(NEW.channels) <> (SELECT count(DISTINCT c) FROM unnest(NEW.channels) AS c) THEN
      RAISE EXCEPTION 'a channel stands twice in column "channels": %', NEW.channels
        USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'channels',
              CONSTRAINT = 'channels_are_distinct';
    END IF;
  END IF;
  IF NEW.template_name IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM notify.templates WHERE name = NEW.template_name) THEN
      RAISE EXCEPTION 'template % in column "template_name" does not exist', quote_literal(NEW.template_name)
        USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'template_name',
              CONSTRAINT = 'template_name_is_known',
              HINT = 'Add it to notify.templates first, or leave template_name out.';
    END IF;
  END IF;
  IF NEW.escalate_after IS NOT NULL THEN
    late := coalesce(NEW.escalate_channels, array_remove(NEW.channels, 'inapp'));
    IF NOT 'inapp' = ANY (NEW.channels) OR cardinality(late) = 0 OR 'inapp' = ANY (late)
       OR NOT late <@ NEW.channels THEN
      RAISE EXCEPTION 'with column "escalate_after" inapp must be one of the channels, and escalate_channels some of the others'
        USING ERRCODE = 'check_violation', SCHEMA = 'notify', TABLE = 'outbox', COLUMN = 'escalate_after',
              CONSTRAINT = 'escalate_channels_are_behind_inapp';
    END IF;
    NEW.escalate_channels := late;
  END IF;

  INSERT INTO notify.notifications
    (id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
     created_at, deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)
  VALUES
    (NEW.notification_id, NEW.event_type, NEW.user_id, NEW.actor_user_id, NEW.channels, NEW.payload,
     NEW.template_name, NEW.dedup_key, NEW.priority, NEW.created_at, NEW.deliver_at, NEW.expires_at,
     NEW.traceparent, NEW.digest_key, NEW.digest_window, NEW.escalate_after, NEW.escalate_channels)
  -- Waits for an uncommitted row of the same key, so two transactions can never both be first.
  ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING;
  IF NOT FOUND THEN
    SELECT id INTO first FROM notify.notifications WHERE dedup_key = NEW.dedup_key;
    PERFORM set_config('notify.last_id', first::text, true);
    RETURN NULL;
  END IF;

  IF late IS NOT NULL THEN
    INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
    VALUES (greatest(NEW.deliver_at, clock_timestamp()) + make_interval(secs => NEW.escalate_after),
            NEW.notification_id, late, 'escalation');
    NEW.channels := ARRAY(SELECT c FROM unnest(NEW.channels) AS c WHERE c <> ALL (late));
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
