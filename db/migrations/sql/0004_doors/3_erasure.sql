-- Erasing a person (docs/privacy.md). An erasure is a row, so that it goes on where it was when a process dies. Who is
-- erased stands in it for as long as it runs, and no longer; what stays is the receipt.
CREATE TABLE notify.erasures (
  id            uuid PRIMARY KEY DEFAULT notify.uuid7(),
  subject       text NOT NULL,                        -- stands for the person: outbox.audit.pseudonym
  user_id       text,
  addresses     text[],                               -- known ones, for what is kept by address
  round         smallint NOT NULL DEFAULT 1,          -- everything is gone through twice
  stage         text NOT NULL DEFAULT 'notifications',
  place         text,                                 -- how far the stage has come; NULL: at its beginning
  erased        jsonb NOT NULL DEFAULT '{}',          -- how many, by table
  requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_token   uuid,
  lease_until   timestamptz,
  finished_at   timestamptz,
  CONSTRAINT a_receipt_names_nobody CHECK (finished_at IS NULL OR user_id IS NULL AND addresses IS NULL AND place IS NULL)
);
CREATE UNIQUE INDEX erasures_open ON notify.erasures (subject) WHERE finished_at IS NULL;

-- Suppressions outlive the person: who did not want to be written to must not be because he was forgotten. What is kept
-- of the address is its veil, by a key of this database's own that only the service reads.
CREATE TABLE notify.veil_key (
  one   boolean PRIMARY KEY DEFAULT true CONSTRAINT there_is_one_veil_key CHECK (one),
  key   bytea NOT NULL
);
INSERT INTO notify.veil_key (key)
VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

CREATE TABLE notify.veiled_suppressions (
  channel     text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  veil        bytea NOT NULL,
  reason      text NOT NULL,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (channel, veil)
);

-- A keyed hash, nested as HMAC nests it so that nothing can be appended (RFC 2104 §2). Postgres has HMAC only in pgcrypto.
CREATE FUNCTION notify.veil(key bytea, channel text, address text) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN sha256(key || sha256(key || convert_to(channel || ' ' || address, 'UTF8')));

-- Whom somebody's notifications name as the one who did it, for an erasure. Few rows have one; see 2_admin.sql.
DO $$
BEGIN
  IF pg_table_size('notify.notifications') <= 32 * 1024 * 1024 THEN
    LOCK TABLE notify.outbox, notify.notifications IN SHARE ROW EXCLUSIVE MODE;
    CREATE INDEX notifications_actor_user_id ON notify.notifications (actor_user_id, id)
      WHERE actor_user_id IS NOT NULL;
  END IF;
END
$$;

-- The service may not change the log; this much it may: leave out who did it. Two transaction ids bound the work, by the
-- index (xid, id). Neither id nor xid of a row changes, so no tick does, and a stream's ids stay what they are.
CREATE FUNCTION notify.outbox_forget_actor(person text, from_xid xid8, to_xid xid8) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changed bigint;
BEGIN
  UPDATE notify.outbox SET actor_user_id = NULL
  WHERE xid >= from_xid AND xid < to_xid AND actor_user_id = person;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END
$$;

-- Nor may the service change the audit log; this much it may: write the pseudonym where the name of an administrator
-- stood who is erased. What was done stays, and whoever knows the name can still ask by whom.
CREATE FUNCTION notify.audit_forget_actor(person text, pseudonym text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changed bigint;
BEGIN
  IF pseudonym !~ '^p_[A-Za-z0-9_-]{22}$' THEN
    RAISE '% is no pseudonym', quote_literal(pseudonym) USING ERRCODE = 'check_violation';
  END IF;
  UPDATE notify.audit_log SET actor = pseudonym WHERE actor = person;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END
$$;

REVOKE ALL ON FUNCTION notify.veil(bytea, text, text), notify.outbox_forget_actor(text, xid8, xid8),
  notify.audit_forget_actor(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.veil(bytea, text, text), notify.outbox_forget_actor(text, xid8, xid8),
  notify.audit_forget_actor(text, text) TO outbox_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.erasures, notify.veiled_suppressions TO outbox_app;
GRANT SELECT ON notify.veil_key TO outbox_app;
GRANT SELECT ON notify.erasures, notify.veiled_suppressions TO outbox_readonly;
