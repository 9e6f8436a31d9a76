#!/bin/sh
# Restarts every process of ours, one at a time, each replaced only once the one before is healthy: with a new image, new
# settings, or just so. Standby before leader does not matter: the lease finds the other one.
#   deploy/rolling-restart.sh [docker compose options], e.g. -f compose.production.yml
set -eu
services=$(docker compose "$@" config --services | grep -E '^(api|relay|worker|gateway)-' | sort)
for service in $services; do
  docker compose "$@" up --detach --wait --no-deps --force-recreate "$service"
done
