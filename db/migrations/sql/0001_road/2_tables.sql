-- UUIDv7 (RFC 9562 §5.7) without an extension: 48 bits of Unix milliseconds, then random bits of a v4.
-- Keys made in one millisecond are close together, so the primary keys grow at their right edge.
CREATE FUNCTION notify.uuid7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
  set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6),
    52, 1), 53, 1),
  'hex')::uuid;

-- What can be sent through. Secrets are never here: a config names them ("env:SMTP_URL").
CREATE TABLE notify.channels (
  name          text PRIMARY KEY
                CONSTRAINT channel_name_is_1_to_40_of_a_z_0_9_dash CHECK (name ~ '^[a-z][a-z0-9-]{0,39}$'),
  kind          text NOT NULL
                CONSTRAINT channel_kind_is_known CHECK (kind IN ('inapp', 'email', 'sms', 'push', 'webhook')),
  enabled       boolean NOT NULL DEFAULT true,
  config        jsonb NOT NULL DEFAULT '{}'
                CONSTRAINT config_is_a_json_object CHECK (jsonb_typeof(config) = 'object'),
  max_attempts  smallint NOT NULL DEFAULT 8
                CONSTRAINT max_attempts_is_1_to_100 CHECK (max_attempts BETWEEN 1 AND 100),
  -- What to do when a worker died with a request on its way: send again, or hold for a person.
  on_unknown    text NOT NULL DEFAULT 'resend'
                CONSTRAINT on_unknown_is_resend_or_hold CHECK (on_unknown IN ('resend', 'hold')),
  version       integer NOT NULL DEFAULT 1,
  updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION notify.channel_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := OLD.version + 1;  -- each claim compares it, so no worker keeps an old config
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
CREATE TRIGGER channel_changed BEFORE UPDATE ON notify.channels
  FOR EACH ROW EXECUTE FUNCTION notify.channel_changed();

INSERT INTO notify.channels (name, kind, config) VALUES
  ('inapp',   'inapp',   '{}'),
  ('email',   'email',   '{"smtp_url": "env:SMTP_URL", "from": "Outbox <notifications@localhost>"}'),
  ('sms',     'sms',     '{}'),
  ('push',    'push',    '{}'),
  ('webhook', 'webhook', '{}');

-- The truth about a notification: one row, made in the producer's transaction, never updated but to cancel it.
-- Unprintable characters are listed one by one, as in outbox.envelope: what [[:cntrl:]] holds depends on the locale.
CREATE TABLE notify.notifications (
  id             uuid PRIMARY KEY DEFAULT notify.uuid7(),
  event_type     text NOT NULL
                 CONSTRAINT event_type_is_1_to_128_letters_digits_dots_dashes_colons
                 CHECK (event_type ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$'),
  user_id        text NOT NULL
                 CONSTRAINT user_id_is_1_to_200_printable_characters
                 CHECK (length(user_id) BETWEEN 1 AND 200 AND user_id !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'),
  actor_user_id  text
                 CONSTRAINT actor_user_id_is_1_to_200_printable_characters
                 CHECK (length(actor_user_id) BETWEEN 1 AND 200 AND actor_user_id !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'),
  channels       text[] NOT NULL
                 CONSTRAINT channels_are_1_to_16 CHECK (cardinality(channels) BETWEEN 1 AND 16),
  payload        jsonb NOT NULL
                 CONSTRAINT payload_is_a_json_object CHECK (jsonb_typeof(payload) = 'object')
                 CONSTRAINT payload_is_at_most_65536_bytes CHECK (octet_length(payload::text) <= 65536),
  template_name  text
                 CONSTRAINT template_name_is_1_to_128_letters_digits_dots_dashes
                 CHECK (template_name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$'),
  dedup_key      text
                 CONSTRAINT dedup_key_is_1_to_255_printable_characters
                 CHECK (length(dedup_key) BETWEEN 1 AND 255 AND dedup_key !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'),
  priority       text NOT NULL
                 CONSTRAINT priority_is_urgent_normal_or_bulk CHECK (priority IN ('urgent', 'normal', 'bulk')),
  created_at     timestamptz NOT NULL,
  -- 2200: far enough for a schedule, near enough for every client's date type (infinity is in none of them).
  deliver_at     timestamptz
                 CONSTRAINT deliver_at_is_between_2000_and_2200
                 CHECK (deliver_at BETWEEN '2000-01-01+00' AND '2200-01-01+00'),
  expires_at     timestamptz
                 CONSTRAINT expires_at_is_between_2000_and_2200
                 CHECK (expires_at BETWEEN '2000-01-01+00' AND '2200-01-01+00'),
  traceparent    text
                 CONSTRAINT traceparent_is_w3c_trace_context
                 CHECK (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
  canceled_at    timestamptz,
  CONSTRAINT expires_at_is_after_deliver_at CHECK (expires_at > deliver_at)
);
CREATE UNIQUE INDEX notifications_dedup_key ON notify.notifications (dedup_key) WHERE dedup_key IS NOT NULL;

-- Anything for later: a delivery date, a retry, a redrive. When due, the relay puts it into the outbox.
CREATE TABLE notify.scheduled (
  id               uuid PRIMARY KEY DEFAULT notify.uuid7(),
  due_at           timestamptz NOT NULL,
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channels         text[] NOT NULL,
  attempt          smallint NOT NULL DEFAULT 0,
  reason           text NOT NULL
                   CONSTRAINT reason_is_deliver_at_retry_or_redrive
                   CHECK (reason IN ('deliver_at', 'retry', 'redrive'))
);
CREATE INDEX scheduled_due_at ON notify.scheduled (due_at);
CREATE INDEX scheduled_notification_id ON notify.scheduled (notification_id);

-- One row per (notification, channel), made by the first claim.
CREATE TABLE notify.deliveries (
  notification_id      uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channel              text NOT NULL,
  status               text NOT NULL
                       CONSTRAINT delivery_status_is_known
                       CHECK (status IN ('pending', 'sending', 'retrying', 'delivered', 'failed',
                                         'suppressed', 'canceled', 'expired', 'unknown')),
  attempts             smallint NOT NULL DEFAULT 0,
  attempts_allowed     smallint NOT NULL,   -- channels.max_attempts at first; a redrive adds to it
  lease_token          uuid,                -- who may settle: the claim that wrote it, nobody else
  lease_until          timestamptz,
  worker               text,
  provider_message_id  text,
  error_class          text,
  reason               text,
  claimed_at           timestamptz,
  settled_at           timestamptz,
  PRIMARY KEY (notification_id, channel)
) WITH (fillfactor = 80);                   -- room for the claim and the settle to stay on their page (HOT)

-- The timeline. Append only.
CREATE TABLE notify.delivery_events (
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  channel          text NOT NULL,
  at               timestamptz NOT NULL DEFAULT clock_timestamp(),
  event            text NOT NULL,           -- delivered, retrying, failed, suppressed, taken_over, redriven …
  attempt          smallint NOT NULL DEFAULT 0,
  detail           jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX delivery_events_notification_id ON notify.delivery_events (notification_id, at);

-- Dead letters: what a person should look at. Undecodable stream entries come with their bytes, and with an id where
-- those still tell it.
CREATE TABLE notify.notifications_failed (
  id               uuid PRIMARY KEY DEFAULT notify.uuid7(),
  notification_id  uuid REFERENCES notify.notifications ON DELETE CASCADE,
  channel          text NOT NULL,
  error_class      text NOT NULL,
  reason           text NOT NULL,
  attempts         smallint NOT NULL DEFAULT 0,
  stream           text,
  entry_id         text,
  raw              bytea,
  failed_at        timestamptz NOT NULL DEFAULT now(),
  redriven_at      timestamptz
);
CREATE INDEX notifications_failed_open ON notify.notifications_failed (channel, failed_at) WHERE redriven_at IS NULL;
CREATE INDEX notifications_failed_notification_id ON notify.notifications_failed (notification_id);
-- An undecodable entry that comes twice is one dead letter.
CREATE UNIQUE INDEX notifications_failed_entry ON notify.notifications_failed (stream, entry_id) WHERE raw IS NOT NULL;

-- Who is to be reached, and how.
CREATE TABLE notify.recipients (
  user_id     text PRIMARY KEY
              CONSTRAINT recipient_user_id_is_1_to_200_printable_characters
              CHECK (length(user_id) BETWEEN 1 AND 200 AND user_id !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'),
  email       text
              CONSTRAINT email_is_an_address
              CHECK (length(email) <= 320
                     AND email ~ '^[^[:space:]\u0001-\u001f\u007f-\u009f\u2028\u2029@]+@[^[:space:]\u0001-\u001f\u007f-\u009f\u2028\u2029@]+$'),
  phone       text CONSTRAINT phone_is_e164 CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
  locale      text CONSTRAINT locale_is_bcp47 CHECK (locale ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
  time_zone   text CONSTRAINT time_zone_is_an_iana_name CHECK (time_zone ~ '^[A-Za-z0-9_+/-]{1,64}$'),
  updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notify.device_tokens (
  id          uuid PRIMARY KEY DEFAULT notify.uuid7(),
  user_id     text NOT NULL,
  platform    text NOT NULL CONSTRAINT platform_is_fcm_or_apns CHECK (platform IN ('fcm', 'apns')),
  token       text NOT NULL CONSTRAINT token_is_1_to_4096_characters CHECK (length(token) BETWEEN 1 AND 4096),
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT device_tokens_platform_token UNIQUE (platform, token)
);
CREATE INDEX device_tokens_user_id ON notify.device_tokens (user_id);

-- A user's wishes. The row for the event type wins over the row for all ('*').
CREATE TABLE notify.user_channel_prefs (
  user_id      text NOT NULL,
  channel      text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  event_type   text NOT NULL DEFAULT '*',
  enabled      boolean NOT NULL DEFAULT true,
  constraints  jsonb NOT NULL DEFAULT '{}'
               CONSTRAINT constraints_are_a_json_object CHECK (jsonb_typeof(constraints) = 'object'),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, channel, event_type)
);

-- Addresses never to be written to again: bounces, complaints, unsubscribes.
CREATE TABLE notify.suppressions (
  channel     text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  address     text NOT NULL CONSTRAINT address_is_lower_case CHECK (address = lower(address)),
  reason      text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, address)
);

-- Versions are kept; the highest one is in force. locale '' serves every locale that has no row of its own.
CREATE TABLE notify.templates (
  id          uuid PRIMARY KEY DEFAULT notify.uuid7(),
  name        text NOT NULL
              CONSTRAINT name_is_1_to_128_letters_digits_dots_dashes
              CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$'),
  channel     text NOT NULL REFERENCES notify.channels ON DELETE CASCADE,
  locale      text NOT NULL DEFAULT '',
  version     integer NOT NULL DEFAULT 1,
  subject     text NOT NULL DEFAULT '',
  body_text   text NOT NULL DEFAULT '',
  body_html   text NOT NULL DEFAULT '',
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT templates_name_channel_locale_version UNIQUE (name, channel, locale, version)
);

-- The in-app inbox. seq is dense per user and given under the lock of the user's counter row, so its order is the
-- order of commits: a client that has seen seq n has seen everything up to n.
CREATE TABLE notify.inbox (
  user_id          text NOT NULL,
  seq              bigint NOT NULL,
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  delivered_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  read_at          timestamptz,
  archived_at      timestamptz,
  PRIMARY KEY (user_id, seq),
  CONSTRAINT inbox_notification_id UNIQUE (notification_id)
) WITH (fillfactor = 90);

-- version grows with every change of the inbox: a client that holds a lower one has something to fetch.
CREATE TABLE notify.inbox_counters (
  user_id   text PRIMARY KEY,
  last_seq  bigint NOT NULL DEFAULT 0,
  unread    integer NOT NULL DEFAULT 0 CONSTRAINT unread_is_not_negative CHECK (unread >= 0),
  version   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
