"""`outbox migrate`: from nothing, again, and against a server that is not there."""

import asyncio
import subprocess
import sys

import asyncpg
import psycopg
import pytest

from db import migrations
from db.pool import Connection
from outbox.cli import migration
from outbox.cli.reach import UnreachableError
from outbox.settings import Settings
from tests.conftest import Database


def migrate(*words: str) -> list[str]:
    """The log of `outbox migrate --with-demo`, as a process of its own: it sets up logging."""
    command = [sys.executable, "-m", "outbox.cli", "migrate", "--with-demo", *words]
    ran = subprocess.run(command, capture_output=True, check=True, text=True)
    return ran.stderr.splitlines()


async def test_from_nothing_and_again(
    configured: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_MIGRATE_DATABASE_URL", database.admin)
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute("DROP SCHEMA notify CASCADE")
        for expected in ("migrate.upgraded", "migrate.unchanged"):
            assert expected in migrate()[-1]
            found = await connection.fetch("SELECT user_id, email FROM notify.recipients")
            assert [tuple(row) for row in found] == [("alice", "alice@example.com")]
    finally:
        await connection.close()


async def test_what_a_person_changed_stays(
    configured: Settings, database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_MIGRATE_DATABASE_URL", database.admin)
    await admin.execute("INSERT INTO notify.recipients (user_id, email) VALUES ('alice', 'me@example.org')")
    migrate()
    assert await admin.fetchval("SELECT email FROM notify.recipients") == "me@example.org"


async def test_channels_are_led_to_the_doubles_where_nobody_configured_them(
    configured: Settings, database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_MIGRATE_DATABASE_URL", database.admin)
    seeded = await configs(admin)
    migrate()
    assert await configs(admin) == seeded
    mine = '{"url": "https://hooks.example.com"}'
    await admin.execute("UPDATE notify.channels SET config = $1 WHERE name = 'webhook'", mine)
    migrate("--double=push", "--double=webhook")
    led = await configs(admin)
    assert "env:FCM_URL" in led["push"]
    assert led == seeded | {"push": led["push"], "webhook": mine}
    await admin.execute("UPDATE notify.channels SET config = '{}' WHERE name = 'webhook'")
    migrate("--double=push", "--double=webhook")
    assert "env:DEMO_WEBHOOK_URL" in (await configs(admin))["webhook"]
    assert (await configs(admin))["push"] == led["push"]


async def configs(connection: Connection) -> dict[str, str]:
    rows = await connection.fetch("SELECT name, config::text AS config FROM notify.channels")
    return {row["name"]: row["config"] for row in rows}


async def test_alice_has_a_number_and_devices_unless_a_person_gave_her_others(
    configured: Settings, database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_MIGRATE_DATABASE_URL", database.admin)
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email) VALUES ('alice', 'alice@example.com')"
    )
    migrate()
    assert await admin.fetchval("SELECT phone FROM notify.recipients") == "+12025550143"
    platforms = "SELECT array_agg(platform ORDER BY platform) FROM notify.device_tokens"
    assert await admin.fetchval(platforms) == ["apns", "fcm"]
    await admin.execute("UPDATE notify.device_tokens SET token = 'mine' WHERE platform = 'fcm'")
    await admin.execute("DELETE FROM notify.device_tokens WHERE platform = 'apns'")
    migrate()
    assert await admin.fetchval(platforms) == ["fcm"]


async def test_a_server_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(migration, "RETRY_SECONDS", 0.05)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9/shop cannot be used: connection refused"):
        await migration.revision("postgresql://someone:secret@127.0.0.1:9/shop")


async def test_a_wrong_password_is_not_waited_for(database: Database) -> None:
    with pytest.raises(UnreachableError, match="password authentication failed"):
        await migration.revision(database.app.replace("test-only", "wrong"))


async def test_a_table_that_somebody_holds_is_waited_for_in_turns(
    database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never for longer than producers can wait behind it; and the next try is as good as the first."""
    await admin.execute("DROP SCHEMA notify CASCADE")
    await asyncio.to_thread(migrations.upgrade, database.admin, "0003")
    holder = psycopg.connect(database.admin)
    holder.execute("LOCK TABLE notify.outbox IN ACCESS SHARE MODE")
    waited: list[float] = []

    def lets_go(seconds: float) -> None:
        waited.append(seconds)
        holder.close()

    monkeypatch.setattr("outbox.cli.migration.time.sleep", lets_go)
    await asyncio.to_thread(migration.upgraded, database.admin)
    assert waited == [1]
    assert await admin.fetchval("SELECT version_num FROM notify.alembic_version") > "0003"
