-- Rules of single columns that rows from before need not keep: they hold where the column is written, and nowhere else, so
-- that an old row can still be switched off, moved or changed. A CHECK, though NOT VALID, would refuse that, too.
CREATE FUNCTION notify.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE check_violation USING
    MESSAGE = format('%s of %I.%I %s', TG_ARGV[0], TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[1]),
    SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[0], CONSTRAINT = TG_NAME;
END $$;
REVOKE EXECUTE ON FUNCTION notify.refuse() FROM PUBLIC;

ALTER TABLE notify.user_channel_prefs DROP CONSTRAINT event_type_is_a_type_or_a_category;
CREATE TRIGGER event_type_is_a_type_or_a_category
  BEFORE INSERT OR UPDATE OF event_type ON notify.user_channel_prefs FOR EACH ROW
  WHEN (NEW.event_type !~ '^([A-Za-z0-9][A-Za-z0-9_.:-]{0,127}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,125}[.:]\*|\*)$')
  EXECUTE FUNCTION notify.refuse('event_type', 'must be an event type, the beginning of some like order.*, or *');

-- The unique index takes 2,704 bytes; past that its own error says nothing to whoever registers a device.
CREATE TRIGGER token_is_at_most_2000_bytes
  BEFORE INSERT OR UPDATE OF token ON notify.device_tokens FOR EACH ROW
  WHEN (octet_length(NEW.token) > 2000)
  EXECUTE FUNCTION notify.refuse('token', 'must be at most 2000 bytes');

-- Of all kinds but webhook there is the one channel that the schema brings: another would never be worked on.
CREATE TRIGGER kind_is_webhook_for_a_channel_of_another_name
  BEFORE INSERT OR UPDATE OF name, kind ON notify.channels FOR EACH ROW
  WHEN (NEW.kind IN ('inapp', 'email', 'sms', 'push') AND NEW.name <> NEW.kind)
  EXECUTE FUNCTION notify.refuse('kind', 'must be webhook for a channel of any other name than its kind');
