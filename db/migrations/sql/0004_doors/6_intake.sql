-- Many rows in one statement, for the API: whatever came while the last commit ran goes into the next one
-- (docs/architecture.md, "Intake"; docs/performance.md has the figures).

-- Who wrote the row: api is a row whose notification is there already, made by notify.accept below. NOT VALID: the rule
-- only grows wider, and to look at all rows again would keep producers waiting.
ALTER TABLE notify.outbox
  DROP CONSTRAINT origin_is_producer_or_schedule,
  ADD CONSTRAINT origin_is_producer_schedule_or_api
    CHECK (origin = ANY ('{producer,schedule,api}')) NOT VALID;

-- The rows of a batch, one commit for all, and none fails another. It tells only of rows that were not plainly taken:
-- `place` is the row's, from 1; `first_id` the notification that has its dedup_key; otherwise `fault` is why Postgres
-- refused it, as the driver would have got it, and nothing of it is there.
--
-- First all rows that are plain (known channels, a known template, no escalation) in one statement, which reads the
-- table's CHECKs once and not once a row. What is left, or everything if that statement fails, goes one by one through
-- the trigger, which alone knows every rule and its words, each in a savepoint. A row of the same dedup_key that is
-- not committed yet is waited for, but not long, because the others wait with it. Rows must come in the order of their
-- keys: two batches then never wait for each other. Safe to repeat with the same ids: a row that is there is no fault.
CREATE FUNCTION notify.accept(
  ids text[], event_types text[], user_ids text[], actors text[], channel_lists text[], payloads text[],
  template_names text[], dedup_keys text[], priorities text[], deliver_ats text[], expire_ats text[],
  traceparents text[], digest_keys text[], digest_windows text[], escalate_afters text[], escalate_lists text[])
RETURNS TABLE (place bigint, first_id uuid, fault jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
SET plan_cache_mode = force_generic_plan AS $$  -- a plan made for each batch anew would cost more than to carry it out
DECLARE
  known  text[] := ARRAY(SELECT name FROM notify.channels);
  moment timestamptz := clock_timestamp();
  logged bigint;
  code text; words text; advice text; named_schema text; named_table text; named_column text; rule text;
BEGIN
  -- The tables are waited for as by any producer; a key, which is one row's affair, only for so long.
  LOCK TABLE ONLY notify.notifications, ONLY notify.outbox, ONLY notify.scheduled IN ROW EXCLUSIVE MODE;
  PERFORM set_config('lock_timeout', '250ms', true);  -- until this function ends, as it says SET above
  BEGIN
    WITH fresh AS (
      INSERT INTO notify.notifications AS n
        (id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority, created_at,
         deliver_at, expires_at, traceparent, digest_key, digest_window)
      SELECT r.id::uuid, r.event_type, r.user_id, r.actor, r.channels::text[], r.payload::jsonb, r.template_name,
             r.dedup_key, r.priority, moment, r.deliver_at::timestamptz, r.expires_at::timestamptz, r.traceparent,
             r.digest_key, r.digest_window::integer
      FROM unnest(ids, event_types, user_ids, actors, channel_lists, payloads, template_names, dedup_keys, priorities,
                  deliver_ats, expire_ats, traceparents, digest_keys, digest_windows, escalate_afters, escalate_lists)
        AS r (id, event_type, user_id, actor, channels, payload, template_name, dedup_key, priority,
              deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)
      WHERE r.escalate_after IS NULL AND r.escalate_channels IS NULL
        AND CASE cardinality(r.channels::text[])
              WHEN 1 THEN (r.channels::text[])[1] = ANY (known)
              -- as many are known as are given: none is unknown, NULL or there twice
              ELSE (SELECT count(*) FROM unnest(known) AS c WHERE c = ANY (r.channels::text[]))
                   = cardinality(r.channels::text[])
            END
        AND (r.template_name IS NULL OR EXISTS (SELECT FROM notify.templates t WHERE t.name = r.template_name))
      ON CONFLICT DO NOTHING
      RETURNING n.*
    ), later AS (
      INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
      SELECT f.deliver_at, f.id, f.channels, 'deliver_at' FROM fresh f WHERE f.deliver_at > moment
    )
    INSERT INTO notify.outbox
      (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
       created_at, deliver_at, expires_at, traceparent, digest_key, digest_window, origin)
    SELECT f.id, f.event_type, f.user_id, f.actor_user_id, f.channels, f.payload, f.template_name, f.dedup_key,
           f.priority, f.created_at, f.deliver_at, f.expires_at, f.traceparent, f.digest_key, f.digest_window, 'api'
    FROM fresh f WHERE f.deliver_at IS NULL OR f.deliver_at <= moment;
    GET DIAGNOSTICS logged = ROW_COUNT;
    IF logged = cardinality(ids) THEN
      RETURN;
    END IF;
  EXCEPTION
    WHEN lock_not_available THEN
      PERFORM set_config('lock_timeout', '20ms', true);  -- the wait was had; nobody waits so long again
    WHEN OTHERS THEN
      NULL;  -- not passed over: each row is tried alone below, and the one to blame tells it
  END;

  -- A new statement, which sees what others have committed meanwhile. Both look-ups by index.
  FOR place, first_id IN
    SELECT r.at, (SELECT n.id FROM notify.notifications n WHERE n.dedup_key = r.dedup_key)
    FROM unnest(ids, dedup_keys) WITH ORDINALITY AS r (id, dedup_key, at)
    WHERE NOT EXISTS (SELECT FROM notify.notifications n WHERE n.id = r.id::uuid)
    ORDER BY r.at
  LOOP
    fault := NULL;
    IF first_id IS NOT NULL THEN
      RETURN NEXT;
      CONTINUE;
    END IF;
    BEGIN
      INSERT INTO notify.outbox
        (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
         deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)
      VALUES
        (ids[place]::uuid, event_types[place], user_ids[place], actors[place], channel_lists[place]::text[],
         payloads[place]::jsonb, template_names[place], dedup_keys[place], priorities[place],
         deliver_ats[place]::timestamptz, expire_ats[place]::timestamptz, traceparents[place], digest_keys[place],
         digest_windows[place]::integer, escalate_afters[place]::integer, escalate_lists[place]::text[]);
      IF NOT FOUND THEN
        first_id := nullif(current_setting('notify.last_id', true)::uuid, ids[place]::uuid);
        IF first_id IS NOT NULL THEN
          RETURN NEXT;
        END IF;
      END IF;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, words = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT,
        named_schema = SCHEMA_NAME, named_table = TABLE_NAME, named_column = COLUMN_NAME, rule = CONSTRAINT_NAME;
      IF code = '55P03' THEN
        PERFORM set_config('lock_timeout', '20ms', true);
      END IF;
      -- Not the DETAIL: it quotes the row, payload and all.
      first_id := NULL;
      fault := jsonb_strip_nulls(jsonb_build_object(
        'C', code, 'M', words, 'H', nullif(advice, ''), 's', nullif(named_schema, ''), 't', nullif(named_table, ''),
        'c', nullif(named_column, ''), 'n', nullif(rule, '')));
      RETURN NEXT;
    END;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION notify.accept(text[], text[], text[], text[], text[], text[], text[], text[], text[], text[],
  text[], text[], text[], text[], text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.accept(text[], text[], text[], text[], text[], text[], text[], text[], text[], text[],
  text[], text[], text[], text[], text[], text[]) TO outbox_app;
