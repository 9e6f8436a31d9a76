-- Recipients of a run: so many, each to be reached on every channel; webhooks go to the address that comes second.
INSERT INTO notify.recipients (user_id, email, phone)
SELECT 'u' || i, 'u' || i || '@example.com', '+1415' || lpad(i::text, 7, '0') FROM generate_series(0, $1::int - 1) i;
INSERT INTO notify.device_tokens (user_id, platform, token)
SELECT 'u' || i, 'fcm', 'phone-' || i FROM generate_series(0, $1::int - 1) i;
INSERT INTO notify.webhook_endpoints (channel, user_id, url)
SELECT 'webhook', 'u' || i, $2::text FROM generate_series(0, $1::int - 1) i;
