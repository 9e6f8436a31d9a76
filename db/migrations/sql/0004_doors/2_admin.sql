-- Lists by time and by user (db/sql/browse.sql). To index a big table takes minutes in which producers would wait, so
-- that is left to `outbox migrate`, which does it afterwards, beside them (db/migrations/beside.sql). A small one is done
-- here, within the blink of an eye; producers wait before their first row, in the order in which they take locks.
DO $$
BEGIN
  IF pg_table_size('notify.notifications') > 32 * 1024 * 1024 THEN
    RAISE NOTICE 'notify.notifications is big: run `outbox migrate`, or the statements of db/migrations/beside.sql by hand';
    RETURN;
  END IF;
  LOCK TABLE notify.outbox, notify.notifications IN SHARE ROW EXCLUSIVE MODE;
  CREATE INDEX notifications_created_at ON notify.notifications (created_at, id);
  CREATE INDEX notifications_user_id ON notify.notifications (user_id, created_at, id);
END
$$;
