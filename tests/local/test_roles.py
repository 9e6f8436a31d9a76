"""The embedded servers as they run: roles, passwords, settings and logs."""

import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from outbox.local.servers import Embedded
from tests.local.embedded import query, wait_until

# Looking at running servers


def test_only_the_superuser_is_one(servers: Embedded) -> None:
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    sql = f"SELECT rolname, rolcanlogin, {powers} FROM pg_roles WHERE rolname ^@ 'outbox_' ORDER BY 1"
    assert query(servers.admin_url, sql) == [
        ("outbox_app", False, False),
        ("outbox_demo_producer", True, False),
        ("outbox_migrator", True, False),
        ("outbox_producer", False, False),
        ("outbox_readonly", False, False),
        ("outbox_service", True, False),
    ]


def test_each_url_is_a_role_in_its_groups(servers: Embedded) -> None:
    sql = """
        SELECT current_user::text, current_database()::text,
               pg_has_role('outbox_app', 'member'), pg_has_role('outbox_producer', 'member')
    """
    assert query(servers.admin_url, sql) == [("postgres", "postgres", True, True)]
    assert query(servers.migrate_url, sql) == [("outbox_migrator", "outbox", False, False)]
    assert query(servers.database_url, sql) == [("outbox_service", "outbox", True, False)]
    assert query(servers.producer_url, sql) == [("outbox_demo_producer", "outbox", False, True)]


def test_only_the_migrator_may_change_the_database(servers: Embedded) -> None:
    query(servers.migrate_url, "CREATE SCHEMA made_by_migrator")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(servers.database_url, "CREATE SCHEMA made_by_service")


def test_settings_of_postgres(servers: Embedded) -> None:
    names = ("max_connections", "max_prepared_transactions", "wal_level", "listen_addresses")
    values = [query(servers.admin_url, f"SHOW {name}")[0][0] for name in names]
    assert values == ["200", "10", "replica", "127.0.0.1"]


def test_a_password_is_demanded_by_both(servers: Embedded) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        query(f"postgresql://postgres:x@127.0.0.1:{servers.info['postgres'].port}/postgres", "")
    with (
        redis.Redis(port=servers.info["redis"].port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_passwords_are_private(servers: Embedded) -> None:
    home = servers.info["redis"].data.parent
    for path in (servers.state_dir / "passwords.json", home / "redis.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(home.glob("*.password"))


def test_psql_runs(servers: Embedded) -> None:
    assert servers.psql
    command = [str(servers.psql), servers.database_url, "-Atc", "SELECT 40 + 2"]
    assert subprocess.check_output(command, text=True).strip() == "42"


def test_postgres_does_not_run_as_root(servers: Embedded) -> None:
    pid = str(servers.info["postgres"].pid)
    uid = subprocess.check_output(["ps", "-o", "uid=", "-p", pid], text=True).strip()
    assert uid != "0"


# Logs


def test_logs_are_capped(place: Path) -> None:
    limit = 20_000
    with Embedded(place / "state", throwaway=True, log_limit=limit) as embedded:
        chatter = "DO $$ BEGIN FOR i IN 1..500 LOOP RAISE LOG '%', repeat('x', 100); END LOOP; END $$"
        log = place / "state/postgres.log"
        older = place / "state/postgres.log.1"
        for _ in range(2):
            query(embedded.admin_url, chatter)
            assert log.stat().st_size > limit
            wait_until(lambda: log.stat().st_size == 0)
            assert older.stat().st_size == limit
        query(embedded.admin_url, "DO $$ BEGIN RAISE LOG 'goes on'; END $$")
        assert b"goes on" in log.read_bytes()
        assert log.read_bytes()[0] != 0
