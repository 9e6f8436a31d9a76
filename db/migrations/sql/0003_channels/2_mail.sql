-- What providers said later about a delivery (delivered, bounced, complained …): each event once, however often it
-- is handed in. The events themselves stand on the timeline.
CREATE TABLE notify.provider_events (
  provider         text NOT NULL,
  event_id         text NOT NULL
                   CONSTRAINT event_id_is_1_to_255_characters CHECK (length(event_id) BETWEEN 1 AND 255),
  notification_id  uuid NOT NULL REFERENCES notify.notifications ON DELETE CASCADE,
  PRIMARY KEY (provider, event_id)
);
CREATE INDEX provider_events_notification_id ON notify.provider_events (notification_id);  -- for the cascade

GRANT SELECT, INSERT, UPDATE, DELETE ON notify.provider_events TO outbox_app;
GRANT SELECT ON notify.provider_events TO outbox_readonly;
