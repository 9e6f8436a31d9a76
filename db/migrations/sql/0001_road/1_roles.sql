-- Group roles. They belong to the cluster, not to the database, so they may be there already;
-- where the migrating role may not create roles, make them beforehand (docs/sql.md).
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['outbox_producer', 'outbox_app', 'outbox_readonly'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another migration in the same cluster made it this instant
      END;
    END IF;
  END LOOP;
END
$$;
