-- Where recipients come from elsewhere (OUTBOX_RECIPIENT_QUERY, OUTBOX_RECIPIENT_URL), this table is what the workers
-- remember of them; asked_at is when. Rows that people write have none.
ALTER TABLE notify.recipients ADD COLUMN asked_at timestamptz;
