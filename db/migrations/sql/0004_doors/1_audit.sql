-- Who did what as an administrator. A row is written in the transaction of the act itself, so there is no act without
-- its row and no row without its act. The service may add and read, not change: what it prunes, a function prunes.
CREATE TABLE notify.audit_log (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor      text NOT NULL
             CONSTRAINT actor_is_1_to_200_printable_characters CHECK (notify.is_printable(actor, 200)),
  via        text NOT NULL
             CONSTRAINT via_is_token_key_or_command CHECK (via IN ('token', 'key', 'command')),
  action     text NOT NULL
             CONSTRAINT action_is_like_channel_change CHECK (action ~ '^[a-z_]{1,40}\.[a-z_]{1,40}$'),
  target     text NOT NULL
             CONSTRAINT target_is_1_to_300_printable_characters CHECK (notify.is_printable(target, 300)),
  detail     jsonb NOT NULL DEFAULT '{}'
             CONSTRAINT audit_detail_is_a_json_object CHECK (jsonb_typeof(detail) = 'object'),
  request_id text
             CONSTRAINT request_id_is_1_to_128_printable_characters CHECK (notify.is_printable(request_id, 128))
);
CREATE INDEX audit_log_target ON notify.audit_log (target, id);
CREATE INDEX audit_log_actor ON notify.audit_log (actor, id);
CREATE INDEX audit_log_at ON notify.audit_log (at);

-- The oldest, at most `most` at once. Whoever has taken over the service cannot wipe away what was done today.
CREATE FUNCTION notify.audit_prune(before timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone bigint;
BEGIN
  IF before > now() - interval '1 day' THEN
    RAISE 'the audit log is kept for a day at least' USING ERRCODE = 'check_violation';
  END IF;
  DELETE FROM notify.audit_log WHERE id IN (SELECT id FROM notify.audit_log WHERE at < before ORDER BY at LIMIT most);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;
REVOKE ALL ON FUNCTION notify.audit_prune(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.audit_prune(timestamptz, integer) TO outbox_app;
GRANT SELECT, INSERT ON notify.audit_log TO outbox_app;
GRANT SELECT ON notify.audit_log TO outbox_readonly;
