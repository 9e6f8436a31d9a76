-- name: take_in
-- What a provider says later, by its own id of the event: what was taken in before, or is of no delivery here, is left
-- out. Written in order of the primary key, so two calls with the same events queue up and cannot deadlock; deliveries
-- are read by primary key. Gives the events that were new.
WITH told AS (
  SELECT * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[])
    AS t (event_id, notification_id, channel, event, detail)
), known AS (
  SELECT DISTINCT ON (t.event_id) t.*, d.attempts
  FROM told t JOIN notify.deliveries d ON d.notification_id = t.notification_id AND d.channel = t.channel
  ORDER BY t.event_id
), fresh AS (
  INSERT INTO notify.provider_events (provider, event_id, notification_id)
  SELECT $1, event_id, notification_id FROM known ORDER BY event_id
  ON CONFLICT (provider, event_id) DO NOTHING
  RETURNING event_id
), written AS (
  INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail)
  SELECT k.notification_id, k.channel, k.event, k.attempts, k.detail::jsonb
  FROM known k JOIN fresh f ON f.event_id = k.event_id
)
SELECT event_id FROM fresh

-- name: mails_of
-- The deliveries of a notification by e-mail, and the address that its recipient has now. Primary keys.
SELECT d.channel, r.email AS address
FROM notify.deliveries d
JOIN notify.channels c ON c.name = d.channel AND c.kind = 'email'
JOIN notify.notifications n ON n.id = d.notification_id
LEFT JOIN notify.recipients r ON r.user_id = n.user_id
WHERE d.notification_id = $1
