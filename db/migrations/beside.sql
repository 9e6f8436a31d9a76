-- name: notifications_created_at
-- Everybody's notifications by time. It grows at its right edge only.
CREATE INDEX CONCURRENTLY notifications_created_at ON notify.notifications (created_at, id)

-- name: notifications_user_id
-- One user's notifications by time: for lists, export and erasure.
CREATE INDEX CONCURRENTLY notifications_user_id ON notify.notifications (user_id, created_at, id)

-- name: notifications_actor_user_id
-- Whom notifications name as the one who did it, for export and erasure. Few rows have one.
CREATE INDEX CONCURRENTLY notifications_actor_user_id ON notify.notifications (actor_user_id, id)
WHERE actor_user_id IS NOT NULL

-- name: relay_ticks_placement
-- By what ticks were made, to tell which placements none has any more. No tick of an unsharded installation is in it.
CREATE INDEX CONCURRENTLY relay_ticks_placement ON notify.relay_ticks (placement) WHERE placement IS NOT NULL
