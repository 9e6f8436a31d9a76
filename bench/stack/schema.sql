-- What a run adds to the database. Control rows: written by each producer in the transaction of its notifications, so
-- they say what Postgres itself has kept, whatever the product made of it.
CREATE SCHEMA IF NOT EXISTS chaos;
CREATE TABLE IF NOT EXISTS chaos.written (title text PRIMARY KEY);
GRANT USAGE ON SCHEMA chaos TO outbox_producer;
GRANT INSERT ON chaos.written TO outbox_producer;

INSERT INTO notify.recipients (user_id, email, phone)
SELECT 'user' || i, 'user' || i || '@example.com', '+1415555' || lpad(i::text, 4, '0') FROM generate_series(0, 19) i
ON CONFLICT DO NOTHING;
INSERT INTO notify.device_tokens (user_id, platform, token)
SELECT 'user' || i, 'fcm', 'phone-' || i FROM generate_series(0, 19) i
ON CONFLICT DO NOTHING;
