#!/bin/sh
# Makes the secrets of compose.production.yml that chance can make, in ./secrets (or $1). What is there stays.
# Edit database_url, migrate_database_url and redis_url where Postgres and Redis are your own; add the certificate and its
# key as tls_certificate and tls_key. The containers' user reads the files, so they are open; the folder is not.
set -eu
folder=${1:-secrets}
mkdir -p "$folder" && chmod 700 "$folder" && cd "$folder"
put() { [ -e "$1" ] || { cat > "$1"; chmod 444 "$1"; echo "made $folder/$1"; }; }
for name in postgres migrator service producer redis grafana; do
  openssl rand -hex 24 | tr -d '\n' | put "${name}_password"
done
openssl rand -base64 48 | tr -d '\n' | put jwt_secret
printf 'postgresql://outbox_service:%s@postgres:5432/outbox' "$(cat service_password)" | put database_url
printf 'postgresql://outbox_migrator:%s@postgres:5432/outbox' "$(cat migrator_password)" | put migrate_database_url
printf 'redis://:%s@redis:6379/0' "$(cat redis_password)" | put redis_url
for name in tls_certificate tls_key; do
  [ -e "$name" ] || echo "missing $folder/$name: put it there, readable by the containers (chmod 444)"
done
