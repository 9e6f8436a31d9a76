"""Something in every table, as an installation of revision 0004 may hold it."""

SEED = """
INSERT INTO notify.outbox (event_type, user_id, channels, payload, deliver_at, digest_key, digest_window)
  SELECT 'order.paid', 'u' || n, '{inapp,email,sms,push,webhook}', '{"title": "Paid"}',
         CASE WHEN n % 5 = 0 THEN now() + interval '1 day' END,
         CASE WHEN n % 7 = 0 THEN 'paid' END, CASE WHEN n % 7 = 0 THEN 60 END
  FROM generate_series(1, 100) n;
INSERT INTO notify.outbox (event_type, user_id, channels, escalate_after, escalate_channels)
  VALUES ('order.lost', 'u1', '{inapp,email}', 60, '{email}');
INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)
  SELECT n.id, 'email', s.status, 1, 8
  FROM (SELECT id, row_number() OVER () AS no FROM notify.notifications) n
  JOIN unnest('{pending,sending,retrying,deferred,digested,delivered,failed,suppressed,canceled,expired,unknown}'
              ::text[])
    WITH ORDINALITY s (status, place) ON s.place = n.no % 11 + 1;
INSERT INTO notify.delivery_events (notification_id, channel, event)
  SELECT notification_id, 'email', status FROM notify.deliveries;
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
  SELECT now(), notification_id, '{email}', 1, 'retry' FROM notify.deliveries WHERE status = 'retrying';
INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, stream, entry_id, raw)
  SELECT notification_id, 'email', 'smtp_5xx', 'no', 's', '1-' || row_number() OVER (), 'raw'
  FROM notify.deliveries WHERE status = 'failed';
INSERT INTO notify.inbox_counters (user_id, last_seq, unread, version) VALUES ('u1', 1, 1, 1);
INSERT INTO notify.inbox (user_id, seq, notification_id)
  SELECT 'u1', 1, id FROM notify.notifications WHERE user_id = 'u1' LIMIT 1;
INSERT INTO notify.recipients (user_id, email, phone, quiet_hours)
  VALUES ('u1', 'u1@example.com', '+15550107777', '{"from": "22:00", "to": "07:00"}');
INSERT INTO notify.suppressions (channel, address, reason) VALUES ('email', 'gone@example.com', 'hard bounce');
INSERT INTO notify.veiled_suppressions (channel, veil, reason, created_at)
  VALUES ('email', sha256('gone'), 'complaint', now());
INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled) VALUES ('u1', 'email', '*', false);
INSERT INTO notify.device_tokens (user_id, platform, token) VALUES ('u1', 'fcm', 't');
INSERT INTO notify.push_attempts (notification_id, channel, device_id, status, attempt)
  SELECT n.id, 'push', d.id, 'delivered', 1 FROM notify.notifications n, notify.device_tokens d LIMIT 1;
INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank)
  SELECT 'SM1', 'sms', id, 'sent', 1 FROM notify.notifications LIMIT 1;
INSERT INTO notify.provider_events (provider, event_id, notification_id)
  SELECT 'sendgrid', 'e1', id FROM notify.notifications LIMIT 1;
INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', 'u1', 'https://hooks.example.com/u1');
INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row)
  SELECT 'webhook', id, 'https://hooks.example.com', 1, 1 FROM notify.notifications LIMIT 1;
INSERT INTO notify.endpoint_turns (channel, endpoint, notification_id, held_until)
  SELECT 'webhook', 'https://hooks.example.com', id, now() FROM notify.notifications LIMIT 1;
INSERT INTO notify.caps (user_id, channel, scope, used, ends_at) VALUES ('u1', 'email', '*', 1, now());
INSERT INTO notify.cap_slots (notification_id, channel) SELECT id, 'email' FROM notify.notifications LIMIT 1;
INSERT INTO notify.digests (id, user_id, channel, key, closes_at)
  SELECT id, 'u7', 'email', 'paid', now() FROM notify.notifications WHERE digest_key = 'paid' LIMIT 1;
INSERT INTO notify.digest_items (notification_id, channel, digest_id)
  SELECT n.id, 'email', d.id FROM notify.notifications n, notify.digests d LIMIT 1;
INSERT INTO notify.templates (name, channel, subject, body_text) VALUES ('welcome', 'email', 'Hi', 'our own');
UPDATE notify.channels SET config = '{"providers": []}' WHERE name IN ('sms', 'push');
INSERT INTO notify.api_keys (id, name, hash, scopes, created_by)
  VALUES ('abcdefghijkl', 'shop', sha256('key'), '{producer}', 'ada');
INSERT INTO notify.audit_log (actor, via, action, target) VALUES ('ada', 'command', 'channel.change', 'email');
INSERT INTO notify.erasures (subject, user_id) VALUES ('someone', 'gone');
INSERT INTO notify.event_routes (aggregatetype, type) VALUES ('order', 'paid');
INSERT INTO notify.relay_lease (name, holder, epoch, expires_at) VALUES ('relay', 'here-1', 1, now());
INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)
  SELECT 1, 1, pg_current_snapshot(), '{"email": "1-1"}', count(*), 1, max(id) FROM notify.outbox;
"""
