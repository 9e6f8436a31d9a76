-- Of every file of this revision: behind a long transaction it gives up rather than keep producers waiting behind it.
SET LOCAL lock_timeout = '2s';

-- When the app last said that this is its token. What a provider found dead before that moment may live again. It
-- comes first, because every row is written: producers and workers need none of what is locked by then.
ALTER TABLE notify.device_tokens ADD COLUMN registered_at timestamptz NOT NULL DEFAULT now();
UPDATE notify.device_tokens SET registered_at = created_at;

-- In the order in which a producer's insert takes them: in any other, it or the migration would end in a deadlock. From
-- here on producers wait, and all that follows is quick.
LOCK TABLE notify.outbox, notify.channels, notify.notifications, notify.scheduled, notify.deliveries
  IN ACCESS EXCLUSIVE MODE;

-- Which of a channel's providers made the last attempt.
ALTER TABLE notify.deliveries ADD COLUMN provider text;
