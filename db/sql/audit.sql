-- name: record
-- In the transaction of the act. No lock that anybody else waits for; ids may commit out of their order.
INSERT INTO notify.audit_log (actor, via, action, target, detail, request_id)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)

-- name: page
-- Newest first, from before entry $1 on; the filters are NULL where they are not asked for. Read backwards along the
-- primary key, or along the index of actor or target. $8: names of which one is the target, or the target's second word.
SELECT id, at, actor, via, action, target, detail, request_id FROM notify.audit_log
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3) AND ($4::text IS NULL OR target = $4)
  AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
  AND ($8::text[] IS NULL OR target = ANY ($8) OR split_part(target, ' ', 2) = ANY ($8))
ORDER BY id DESC LIMIT $7

-- name: prune
-- By the schema's function, as the service itself may not delete. Index audit_log_at.
SELECT notify.audit_prune($1, $2)
