-- Least privilege. Functions are callable by PUBLIC unless taken away; the definer functions must not be.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify FROM PUBLIC;
GRANT USAGE ON SCHEMA notify TO outbox_producer, outbox_app, outbox_readonly;

-- A producer may insert the columns that are a producer's business, and nothing else: no SELECT, so no RETURNING.
GRANT INSERT (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key,
              priority, deliver_at, expires_at, traceparent)
  ON notify.outbox TO outbox_producer;
GRANT USAGE ON SEQUENCE notify.outbox_id_seq TO outbox_producer;
GRANT SELECT ON SEQUENCE notify.relay_flag TO outbox_producer;
GRANT EXECUTE ON FUNCTION notify.uuid7() TO outbox_producer, outbox_app;

-- The service. It may not update the log, nor delete from it but for a person's erasure.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA notify TO outbox_app;
REVOKE UPDATE ON notify.outbox FROM outbox_app;
GRANT USAGE ON SEQUENCE notify.outbox_id_seq TO outbox_app;
GRANT SELECT, UPDATE ON SEQUENCE notify.relay_flag TO outbox_app;
GRANT EXECUTE ON FUNCTION notify.outbox_add_partition(bigint, bigint), notify.outbox_drop_partition(text, pg_snapshot) TO outbox_app;

GRANT SELECT ON ALL TABLES IN SCHEMA notify TO outbox_readonly;
