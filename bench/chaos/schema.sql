-- What a run adds to the database. Control rows: written by each producer in the transaction of its notifications, so
-- they say what Postgres itself has kept, whatever the product made of it.
CREATE SCHEMA chaos;
CREATE TABLE chaos.written (title text PRIMARY KEY);
GRANT USAGE ON SCHEMA chaos TO outbox_producer, outbox_app;
GRANT INSERT ON chaos.written TO outbox_producer;

-- The relay's clock. Its statements say clock_timestamp(), and for its login that is this one: leases, the milliseconds
-- of ticks and due times all jump with it. A sequence, because it is read outside transactions.
CREATE SEQUENCE chaos.shift MINVALUE -2000000000;
SELECT setval('chaos.shift', 0);
GRANT SELECT ON SEQUENCE chaos.shift TO outbox_app;
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN pg_catalog.clock_timestamp()
       + pg_catalog.make_interval(secs => pg_catalog.pg_sequence_last_value('chaos.shift'::regclass)::float8);
CREATE ROLE outbox_relay LOGIN IN ROLE outbox_app;
ALTER ROLE outbox_relay SET search_path = chaos, pg_catalog;

-- Hundreds of faults may hit one delivery more than eight times; a dead letter would be no loss, but no proof either.
UPDATE notify.channels SET max_attempts = 100;
INSERT INTO notify.recipients (user_id, email)
SELECT 'user' || i, 'user' || i || '@example.com' FROM generate_series(0, 199) i;
