-- What became of a push on each of a recipient's devices. A retry spares those that have it. The token itself is not
-- here, and a device that is gone leaves its row: it is part of the notification's history, and goes with it.
CREATE TABLE notify.push_attempts (
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channel          text NOT NULL,
  device_id        uuid NOT NULL,
  status           text NOT NULL
                   CONSTRAINT push_attempt_status_is_known
                   CHECK (status IN ('delivered', 'retrying', 'failed', 'gone', 'unknown')),
  attempt          smallint NOT NULL,
  provider         text,
  message_id       text,
  error_class      text,
  reason           text,
  at               timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (notification_id, channel, device_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.push_attempts TO outbox_app;
GRANT SELECT ON notify.push_attempts TO outbox_readonly;

-- Where nobody has configured push yet. Secrets stay in the environment; an absent one makes the attempt wait and say so.
UPDATE notify.channels SET config = '{"providers": [
  {"type": "fcm", "credentials": "env:FCM_CREDENTIALS"},
  {"type": "apns", "key": "env:APNS_KEY", "key_id": "env:APNS_KEY_ID", "team_id": "env:APNS_TEAM_ID",
   "topic": "env:APNS_TOPIC", "sandbox": true}
]}' WHERE name = 'push' AND config = '{}';

INSERT INTO notify.templates (name, channel, subject, body_text) VALUES ('default', 'push',
'{{ payload.title or event_type }}',
'{{ payload.body or "" }}')
ON CONFLICT ON CONSTRAINT templates_name_channel_locale_version DO NOTHING;
