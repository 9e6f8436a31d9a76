-- name: add_recipient
-- For `outbox up` alone. DO NOTHING: what a person has changed since stays changed.
INSERT INTO notify.recipients (user_id, email) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING
