-- Recipients of a run: $1 of them. Some cannot be reached on purpose, so that every final state is seen.
INSERT INTO notify.recipients (user_id, email, phone)
SELECT 'u' || i, CASE WHEN i % 50 <> 7 THEN 'u' || i || '@example.com' END,
       CASE WHEN i % 50 = 7 THEN NULL WHEN i % 50 = 13 THEN '+15005550004' ELSE '+1415' || lpad(i::text, 7, '0') END
FROM generate_series(1, $1::int) i;
-- Devices: one or two phones of one platform; a few people have both, some a phone that is gone, some none.
INSERT INTO notify.device_tokens (user_id, platform, token, registered_at)
SELECT 'u' || i, 'fcm', CASE WHEN i % 50 = 21 THEN 'gone-' ELSE 'phone-' END || i || '-' || n, now() - interval '1 day'
FROM generate_series(1, $1::int) i, generate_series(1, 2) n
WHERE i % 50 <> 23 AND (i % 4 = 1 OR i % 4 = 2 AND n = 1 OR i % 40 = 3 AND n = 1);
INSERT INTO notify.device_tokens (user_id, platform, token, registered_at)
SELECT 'u' || i, 'apns', 'c0ffee' || lpad(to_hex(i), 56, '0') || lpad(n::text, 2, '0'), now() - interval '1 day'
FROM generate_series(1, $1::int) i, generate_series(1, 2) n
WHERE i % 50 <> 23 AND (i % 4 = 0 OR i % 4 = 3 AND n = 1);
INSERT INTO notify.webhook_endpoints (channel, user_id, url)
SELECT 'webhook', 'u' || i, $2::text || '/u' || i % 100 FROM generate_series(1, $1::int) i WHERE i % 50 <> 27;
INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled)
SELECT 'u' || i, c.name, '*', false FROM generate_series(1, $1::int) i, notify.channels c WHERE i % 50 = 29;
