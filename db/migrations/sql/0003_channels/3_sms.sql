-- SMS by Twilio. A provider that can be asked whether it has a message settles what nobody else knows.
ALTER TABLE notify.channels DROP CONSTRAINT on_unknown_is_resend_or_hold;
ALTER TABLE notify.channels ADD CONSTRAINT on_unknown_is_resend_hold_or_ask
  CHECK (on_unknown IN ('resend', 'hold', 'ask'));

UPDATE notify.channels SET
  config = '{"providers": [{"type": "twilio", "account_sid": "env:TWILIO_ACCOUNT_SID", "auth_token": "env:TWILIO_AUTH_TOKEN", "from": "env:TWILIO_FROM", "url": "env:TWILIO_URL"}]}',
  on_unknown = 'ask'
WHERE name = 'sms' AND config = '{}';

INSERT INTO notify.templates (name, channel, body_text) VALUES ('default', 'sms',
'{{ payload.body or payload.title or event_type }}{% if payload.url %} {{ payload.url }}{% endif %}')
ON CONFLICT ON CONSTRAINT templates_name_channel_locale_version DO NOTHING;

-- What a provider has said about its messages. rank grows: what comes late, twice or in the wrong order is passed over.
CREATE TABLE notify.sms_messages (
  message_id       text PRIMARY KEY,
  channel          text NOT NULL,
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  status           text NOT NULL,
  rank             smallint NOT NULL,
  reason           text,
  updated_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sms_messages_notification_id ON notify.sms_messages (notification_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON notify.sms_messages TO outbox_app;
GRANT SELECT ON notify.sms_messages TO outbox_readonly;
