#!/bin/sh
# Runs once, when the database of compose.yml is made: the same roles as the embedded PostgreSQL has.
set -eu
logins=$(printf '{"outbox_migrator": "%s", "outbox_service": "%s", "outbox_demo_producer": "%s"}' \
  "$MIGRATOR_PASSWORD" "$SERVICE_PASSWORD" "$PRODUCER_PASSWORD")
psql -v ON_ERROR_STOP=1 -v logins="$logins" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
SELECT set_config('outbox.logins', :'logins', false) \g /dev/null
\i /roles.sql
ALTER DATABASE outbox OWNER TO outbox_migrator;
SQL
