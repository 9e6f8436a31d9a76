-- Roles of an embedded server. Runs as superuser at every start, so each statement is repeatable.
-- Groups are what migrations grant to; logins come with their passwords as JSON in the session
-- setting outbox.logins, so that no password is part of a statement (statements get logged).
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT unnest(ARRAY['outbox_producer', 'outbox_app', 'outbox_readonly']) AS name LOOP
        IF to_regrole(wanted.name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.name);
        END IF;
    END LOOP;

    FOR wanted IN SELECT key AS name, value AS password
                    FROM json_each_text(current_setting('outbox.logins')::json) LOOP
        IF to_regrole(wanted.name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I', wanted.name);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L',
            wanted.name, wanted.password);
    END LOOP;

    GRANT outbox_app TO outbox_service;
    GRANT outbox_producer TO outbox_demo_producer;
END
$$
