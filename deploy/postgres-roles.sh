#!/bin/sh
# Runs once, when the database of compose.yml is made: the same roles as the embedded PostgreSQL has.
# Passwords are in the environment, or in the files that NAME_FILE names.
set -eu
password() { eval "f=\${$1_FILE:-}"; if [ -n "$f" ]; then cat "$f"; else eval "printf %s \"\$$1\""; fi; }
logins=$(printf '{"outbox_migrator": "%s", "outbox_service": "%s", "outbox_demo_producer": "%s"}' \
  "$(password MIGRATOR_PASSWORD)" "$(password SERVICE_PASSWORD)" "$(password PRODUCER_PASSWORD)")
psql -v ON_ERROR_STOP=1 -v logins="$logins" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
SELECT set_config('outbox.logins', :'logins', false) \g /dev/null
\i /roles.sql
ALTER DATABASE outbox OWNER TO outbox_migrator;
SQL
