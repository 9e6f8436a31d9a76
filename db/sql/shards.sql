-- name: of_channels
-- Of every channel: into how many shards its next ticks go, and how many may hold something. A handful of rows.
SELECT channel, shards, readable FROM notify.shards ORDER BY channel

-- name: placement
-- Its number, whoever has added it. Unique index.
INSERT INTO notify.placements (shards) VALUES ($1::text::jsonb)
ON CONFLICT (shards) DO UPDATE SET shards = excluded.shards RETURNING no

-- name: drop_placements
-- Those that no tick has any more, but for the one that the next tick will have. A handful of rows, each looked up in the
-- ticks' partial index. One of another relay that was about to use it makes that one's tick fail, by its foreign key.
DELETE FROM notify.placements p
WHERE no IS DISTINCT FROM $1 AND NOT EXISTS (SELECT FROM notify.relay_ticks t WHERE t.placement = p.no)
