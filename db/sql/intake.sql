-- name: accept
-- Many rows for the log, in one commit, none failing another; tells of those alone that were not plainly taken. What it
-- locks is the rows' own keys, in the order in which they are given, and it waits for each 250 ms at most
-- (migrations/sql/0004_doors/6_intake.sql).
SELECT place, first_id, fault
FROM notify.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
