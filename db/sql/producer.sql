-- name: insert
-- The producer's one statement, the same text for every driver: each value comes as text and is cast here, because
-- the drivers disagree on how they send arrays, JSON and times. It reads no column, so INSERT alone is the right it
-- needs. The trigger notify.outbox_accept drops a row (0 rows) that repeats a dedup_key or is for later, and names
-- the notification concerned in notify.last_id; the setting is read after the insert, because count() has to see the
-- end of it first. One statement, so it holds in autocommit too. It waits for nobody but an uncommitted row
-- of the same dedup_key: two transactions can never both be first.
WITH accepted AS (
  INSERT INTO notify.outbox (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name,
                             dedup_key, priority, deliver_at, expires_at, traceparent, digest_key, digest_window,
                             escalate_after, escalate_channels)
  VALUES (CAST($1 AS text)::uuid, $2, $3, $4, CAST($5 AS text)::text[], CAST($6 AS text)::jsonb, $7, $8, $9,
          CAST($10 AS text)::timestamptz, CAST($11 AS text)::timestamptz, $12, $13, CAST($14 AS text)::integer,
          CAST($15 AS text)::integer, CAST($16 AS text)::text[])
  RETURNING 1
)
SELECT count(*) AS rows, current_setting('notify.last_id', true) AS last_id FROM accepted

-- name: insert_many
-- The same for many rows at once, in their order: a scan of unnest keeps it, so the outbox ids grow with the batch.
INSERT INTO notify.outbox (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name,
                           dedup_key, priority, deliver_at, expires_at, traceparent, digest_key, digest_window,
                           escalate_after, escalate_channels)
SELECT r.notification_id::uuid, r.event_type, r.user_id, r.actor_user_id, r.channels::text[], r.payload::jsonb,
       r.template_name, r.dedup_key, r.priority, r.deliver_at::timestamptz, r.expires_at::timestamptz, r.traceparent,
       r.digest_key, r.digest_window::integer, r.escalate_after::integer, r.escalate_channels::text[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
  AS r (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
        deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)
