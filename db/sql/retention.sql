-- name: limit_time
-- For the rest of the transaction: one step is short, whatever it meets, and a longer one is begun anew.
SET LOCAL statement_timeout = '10s'

-- name: purge
-- See the function. The oldest by the index (created_at, id), at most $4 of them; all else by keys and indexes that begin
-- with the notification's id. It holds rows that are over, and for an instant those beside them; it waits for nobody.
SELECT before, looked, last_at, last_id, stayed_at, stayed_id, purged, inboxes FROM notify.purge($1, $2, $3, $4)
