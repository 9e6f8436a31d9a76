-- These need the table for themselves for an instant. Behind a producer's long transaction they would wait, and all
-- other producers behind them: better to give up, and to be run again.
SET LOCAL lock_timeout = '2s';

-- A row draws its id after its transaction has got its own. So once every transaction up to some moment has ended, no
-- row with an id drawn before that moment can still come to light, and the relay looks at no partition below it. (The
-- sequence must not cache: CACHE 1, as it is.)
ALTER TABLE notify.outbox ALTER COLUMN id
  SET DEFAULT (CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('notify.outbox_id_seq') END);

-- floor: no row of this tick or of a later one has an id up to it.
ALTER TABLE notify.relay_ticks ADD COLUMN floor bigint NOT NULL DEFAULT 0;

-- Postgres refuses to PREPARE a transaction that has notified. A producer with two-phase commit says
-- SET notify.wake = off; its rows are then found by the relay's poll, or with the next row of anybody else.
DROP TRIGGER outbox_wake ON notify.outbox;
CREATE TRIGGER outbox_wake AFTER INSERT ON notify.outbox FOR EACH STATEMENT
  WHEN (pg_sequence_last_value('notify.relay_flag'::regclass) IS DISTINCT FROM 2
        AND current_setting('notify.wake', true) IS DISTINCT FROM 'off')
  EXECUTE FUNCTION notify.wake_relay();
DROP TRIGGER scheduled_wake ON notify.scheduled;
CREATE TRIGGER scheduled_wake AFTER INSERT ON notify.scheduled FOR EACH STATEMENT
  WHEN (pg_sequence_last_value('notify.relay_flag'::regclass) IS DISTINCT FROM 2
        AND current_setting('notify.wake', true) IS DISTINCT FROM 'off')
  EXECUTE FUNCTION notify.wake_relay();
