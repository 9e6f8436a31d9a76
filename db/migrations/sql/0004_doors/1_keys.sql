-- Keys of programs. The secret is 256 random bits, so its SHA-256 is enough: a slow hash protects what can be guessed,
-- and here there is nothing to guess. A key is revoked, never deleted: the audit log and created_by go on naming it.
CREATE TABLE notify.api_keys (
  id           text PRIMARY KEY
               CONSTRAINT key_id_is_12_letters_or_digits CHECK (id ~ '^[0-9A-Za-z]{12}$'),
  name         text NOT NULL
               CONSTRAINT key_name_is_1_to_100_printable_characters CHECK (notify.is_printable(name, 100)),
  hash         bytea NOT NULL
               CONSTRAINT key_hash_is_a_sha256 CHECK (octet_length(hash) = 32),
  scopes       text[] NOT NULL
               CONSTRAINT key_scopes_are_some_of_producer_bounces_admin
               CHECK (scopes <@ '{producer,bounces,admin}' AND cardinality(scopes) BETWEEN 1 AND 3),
  -- What a producer is limited to; NULL is any.
  event_types  text[]
               CONSTRAINT key_event_types_are_1_to_50 CHECK (cardinality(event_types) BETWEEN 1 AND 50),
  channels     text[]
               CONSTRAINT key_channels_are_1_to_50 CHECK (cardinality(channels) BETWEEN 1 AND 50),
  rate         text
               CONSTRAINT key_rate_is_like_600_per_minute
               CHECK (rate ~ '^[1-9][0-9]{0,8}/(second|minute|hour|day)$'),
  created_by   text NOT NULL
               CONSTRAINT key_created_by_is_1_to_200_printable_characters CHECK (notify.is_printable(created_by, 200)),
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz,  -- to the minute
  version      integer NOT NULL DEFAULT 1
);
CREATE INDEX api_keys_created ON notify.api_keys (created_at, id);
-- Not the hash: whoever has taken over the service cannot make somebody's key its own. created_by, for an erasure.
GRANT SELECT, INSERT, UPDATE (name, scopes, event_types, channels, rate, created_by, expires_at, revoked_at, last_used_at,
                              version) ON notify.api_keys TO outbox_app;
-- Readers see everything but the hash.
GRANT SELECT (id, name, scopes, event_types, channels, rate, created_by, created_at, expires_at, revoked_at,
              last_used_at, version) ON notify.api_keys TO outbox_readonly;
