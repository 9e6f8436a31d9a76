-- name: record
-- In the transaction of the act. No lock that anybody else waits for; ids may commit out of their order.
INSERT INTO notify.audit_log (actor, via, action, target, detail, request_id)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)
