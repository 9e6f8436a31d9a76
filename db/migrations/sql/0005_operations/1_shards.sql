-- A hot channel's streams are cut into shards by user. What these locks keep waiting are relays, never producers.
SET LOCAL lock_timeout = '5s';

-- How many streams each lane of a channel is cut into. A table of its own, because a column of notify.channels could
-- only be added under a lock that every producer waits for. No row: one. Powers of two, so that one number tells a row's
-- shard in all of its channels, and a change moves whole halves of a shard.
CREATE TABLE notify.channel_shards (
  channel  text PRIMARY KEY REFERENCES notify.channels ON DELETE CASCADE,
  shards   smallint NOT NULL
           CONSTRAINT shards_are_a_power_of_two_up_to_64 CHECK (shards IN (1, 2, 4, 8, 16, 32, 64))
);

-- What ticks were made by: {"email": 4}, without the channels that have one. A tick names its placement, so where its
-- rows belong follows from facts alone, whatever was changed since. A relay adds one before it makes ticks by it, and
-- takes it away when no tick has it any more: until then its streams may come to hold something again.
CREATE TABLE notify.placements (
  no      integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  shards  jsonb NOT NULL CONSTRAINT placements_shards UNIQUE
          CONSTRAINT placement_is_a_json_object CHECK (jsonb_typeof(shards) = 'object')
);

-- NULL: every channel has one. The key keeps a relay that was frozen from making a tick by a placement that is gone.
-- NOT VALID, because the ticks from before have none.
ALTER TABLE notify.relay_ticks ADD COLUMN placement integer;
ALTER TABLE notify.relay_ticks ADD CONSTRAINT relay_ticks_placement
  FOREIGN KEY (placement) REFERENCES notify.placements NOT VALID;

-- Few ticks are indexed at once; many are left to `outbox migrate`, so that no relay waits (db/migrations/beside.sql).
DO $$
BEGIN
  IF pg_table_size('notify.relay_ticks') <= 32 * 1024 * 1024 THEN
    CREATE INDEX relay_ticks_placement ON notify.relay_ticks (placement) WHERE placement IS NOT NULL;
  END IF;
END
$$;

-- Which of so many shards a user's rows go into. A tick never leaves its cluster (a dump begins ticks anew), and there
-- this hash stays what it is: Postgres' own hash partitions rest on it, pg_upgrade included.
CREATE FUNCTION notify.shard_of(user_id text, shards integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashtextextended(user_id COLLATE "C", 0) & (shards - 1))::integer;
REVOKE EXECUTE ON FUNCTION notify.shard_of(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.shard_of(text, integer) TO outbox_app, outbox_readonly;

-- shards: into how many a channel's next ticks go. readable: how many may hold something, of earlier ticks perhaps.
-- What is delivered in order has one stream, for the order is that of its entries.
CREATE VIEW notify.shards AS
SELECT s.name AS channel, s.shards,
       greatest(s.shards, (SELECT max((p.shards ->> s.name)::integer) FROM notify.placements p)) AS readable
FROM (SELECT c.name, CASE WHEN c.config @> '{"ordered": true}' THEN 1 ELSE coalesce(n.shards, 1) END::integer AS shards
      FROM notify.channels c LEFT JOIN notify.channel_shards n ON n.channel = c.name) s;

GRANT SELECT, INSERT, UPDATE, DELETE ON notify.channel_shards, notify.placements TO outbox_app;
GRANT SELECT ON notify.channel_shards, notify.placements, notify.shards TO outbox_app, outbox_readonly;

-- As before, but for the streams of shards.
CREATE OR REPLACE FUNCTION notify.channel_goes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  use text;
BEGIN
  LOCK TABLE notify.outbox IN SHARE MODE;
  SELECT uses.why INTO use FROM (
    SELECT 'notifications were sent to it' AS why FROM notify.relay_ticks t
      WHERE t.no = (SELECT max(no) FROM notify.relay_ticks)
        AND OLD.name IN (SELECT split_part(stream, '.', 1) FROM jsonb_object_keys(t.tops) stream
                         UNION ALL SELECT split_part(stream, '.', 1) FROM unnest(t.behind) stream)
    UNION ALL
    SELECT 'notifications were sent to it' FROM notify.outbox o
      WHERE o.xid >= coalesce((SELECT pg_snapshot_xmin(snapshot) FROM notify.relay_ticks ORDER BY no DESC OFFSET 1 LIMIT 1), '0')
        AND OLD.name = ANY (o.channels)
    UNION ALL
    SELECT 'notifications are scheduled for it' FROM notify.scheduled s WHERE OLD.name = ANY (s.channels)
    UNION ALL
    SELECT 'it has dead letters' FROM notify.notifications_failed f WHERE f.channel = OLD.name AND f.redriven_at IS NULL
  ) AS uses LIMIT 1;
  IF use IS NOT NULL THEN
    RAISE EXCEPTION 'channel % cannot be removed: %', quote_literal(OLD.name), use
      USING ERRCODE = 'restrict_violation', SCHEMA = 'notify', TABLE = 'channels', CONSTRAINT = 'channel_is_unused',
            HINT = 'Switch it off instead: enabled = false.';
  END IF;
  RETURN OLD;
END
$$;
