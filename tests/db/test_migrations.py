"""The migrations: from empty, twice, two at once, and the same schema by the SQL that they print."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from db import migrations
from db.pool import Connection
from tests import servers

# Everything of schema notify that the catalog knows, as text: kind, name, definition.
CATALOG = """
SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attacl, pg_get_expr(adbin, adrelid)) AS definition
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
 WHERE relnamespace = 'notify'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'relation', oid::regclass::text,
       concat_ws(' ', relkind, relacl, reloptions, pg_get_expr(relpartbound, oid))
  FROM pg_class WHERE relnamespace = 'notify'::regnamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'notify'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'notify'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'notify'::regnamespace AND NOT tgisinternal
UNION ALL SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid) || coalesce(proacl::text, '')
  FROM pg_proc WHERE pronamespace = 'notify'::regnamespace
UNION ALL SELECT 'channel', name, concat_ws(' ', kind, config, enabled) FROM notify.channels
UNION ALL SELECT 'template', name || channel, concat_ws(' ', subject, body_text, body_html) FROM notify.templates
UNION ALL SELECT 'version', version_num, '' FROM notify.alembic_version
ORDER BY 1, 2
"""


@pytest.fixture
async def empty() -> AsyncIterator[list[str]]:
    """URLs of two databases with nothing in them."""
    admin = os.environ[servers.ADMIN_URL]
    connection = await asyncpg.connect(admin)
    names = [f"test_{uuid4().hex[:16]}" for _ in range(2)]
    for name in names:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield [servers.in_database(admin, name) for name in names]
    finally:
        for name in names:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def catalog(url: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(CATALOG)]
    finally:
        await connection.close()


def printed() -> str:
    """What `alembic upgrade head --sql` prints."""
    config = migrations.config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


async def test_from_empty_and_again(empty: list[str]) -> None:
    url = empty[0]
    await asyncio.to_thread(migrations.upgrade, url)
    first = await catalog(url)
    await asyncio.to_thread(migrations.upgrade, url)
    assert await catalog(url) == first
    kinds = {kind for kind, *_ in first}
    assert kinds >= {"column", "relation", "index", "constraint", "trigger", "function", "channel", "version"}


async def test_two_that_start_at_once_do_it_once(empty: list[str]) -> None:
    url = empty[0]
    await asyncio.gather(*(asyncio.to_thread(migrate_in_process, url) for _ in range(3)))
    assert [row for row in await catalog(url) if row[0] == "version"] == [("version", head(), "")]


def migrate_in_process(url: str) -> None:
    """In a process of its own, as services start: Alembic's context is one per process."""
    code = "import sys; from db import migrations; migrations.upgrade(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, url], check=True, capture_output=True)


def head() -> str:
    script = ScriptDirectory.from_config(migrations.config())
    assert len(script.get_heads()) == 1
    return script.get_heads()[0]


async def test_the_printed_sql_makes_the_same_schema(empty: list[str]) -> None:
    online, by_hand = empty
    await asyncio.to_thread(migrations.upgrade, online)
    script = await asyncio.to_thread(printed)
    connection = await asyncpg.connect(by_hand)
    await connection.execute(script)  # the simple protocol, as psql sends a file
    await connection.close()
    assert await catalog(by_hand) == await catalog(online)


async def test_the_printed_sql_is_one_transaction() -> None:
    script = await asyncio.to_thread(printed)
    statements = [line.strip() for line in script.splitlines() if line.strip()]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")


# What an installation of 0002 may hold: something in every table, and what its people have written themselves.
HELD = """
INSERT INTO notify.outbox (event_type, user_id, channels, payload, deliver_at)
  SELECT 'order.paid', 'u' || n, '{inapp,email,sms,push}', '{"title": "Paid"}',
         CASE WHEN n % 5 = 0 THEN now() + interval '1 day' END
  FROM generate_series(1, 100) n;
INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)
  SELECT n.id, 'email', s.status, 1, 8
  FROM (SELECT id, row_number() OVER () AS no FROM notify.notifications) n
  JOIN unnest('{pending,sending,retrying,delivered,failed,suppressed,canceled,expired,unknown}'::text[])
    WITH ORDINALITY s (status, place) ON s.place = n.no % 9 + 1;
INSERT INTO notify.delivery_events (notification_id, channel, event)
  SELECT notification_id, 'email', status FROM notify.deliveries;
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
  SELECT now(), notification_id, '{email}', 1, 'retry' FROM notify.deliveries WHERE status = 'retrying';
INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason)
  SELECT notification_id, 'email', 'smtp_5xx', 'no' FROM notify.deliveries WHERE status = 'failed';
INSERT INTO notify.recipients (user_id, email) VALUES ('u1', 'u1@example.com');
INSERT INTO notify.suppressions (channel, address, reason) VALUES ('email', 'gone@example.com', 'hard bounce');
INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled)
  VALUES ('u1', 'email', '*', true), ('u1', 'email', 'order paid!', true);
INSERT INTO notify.device_tokens (user_id, platform, token, created_at) VALUES ('u1', 'fcm', 't', '2025-01-01');
INSERT INTO notify.templates (name, channel, body_text)
  VALUES ('default', 'sms', 'our own'), ('default', 'push', 'our own');
UPDATE notify.channels SET config = '{"providers": []}' WHERE name IN ('sms', 'push');
"""

HELD_IN = ["outbox", "notifications", "deliveries", "delivery_events", "scheduled", "notifications_failed"]
HELD_IN += ["recipients", "suppressions", "user_channel_prefs", "device_tokens"]


async def test_from_the_last_release_with_rows(empty: list[str]) -> None:
    url = empty[0]
    await asyncio.to_thread(migrations.upgrade, url, "0002")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(HELD)
        before = await held(connection)
        await asyncio.to_thread(migrations.upgrade, url)
        assert await held(connection) == before
        own = "SELECT body_text FROM notify.templates WHERE name = 'default' AND channel IN ('sms', 'push')"
        assert {row["body_text"] for row in await connection.fetch(own)} == {"our own"}
        kept = "SELECT DISTINCT config::text FROM notify.channels WHERE name IN ('sms', 'push')"
        assert [row[0] for row in await connection.fetch(kept)] == ['{"providers": []}']
        assert await connection.fetchval("SELECT registered_at = created_at FROM notify.device_tokens")
        await connection.execute("UPDATE notify.deliveries SET status = 'deferred' WHERE status = 'retrying'")
    finally:
        await connection.close()


async def held(connection: Connection) -> dict[str, int]:
    """Rows by table."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'notify'::regnamespace AND relname = ANY ($1)",
        HELD_IN,
    )
    return {
        row["relname"]: await connection.fetchval(f"SELECT count(*) FROM notify.{row['relname']}")
        for row in tables
    }


async def test_producers_go_on_meanwhile(empty: list[str]) -> None:
    """They wait, but none of their transactions fails."""
    url = empty[0]
    await asyncio.to_thread(migrations.upgrade, url, "0002")
    migrating = asyncio.create_task(asyncio.to_thread(migrations.upgrade, url))
    number = sum(await asyncio.gather(*(produce(url, migrating) for _ in range(4))))
    await migrating
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM notify.notifications") == number > 4
    await connection.close()


async def produce(url: str, until: "asyncio.Task[None]") -> int:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    number = 0
    try:
        while not until.done():
            await connection.execute(
                "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', 'ada', '{inapp,email}')"
            )
            number += 1
    finally:
        await connection.close()
    return number


async def test_behind_a_long_transaction_it_gives_up(empty: list[str]) -> None:
    """What waits for a table keeps everybody behind it waiting, too."""
    url = empty[0]
    await asyncio.to_thread(migrations.upgrade, url, "0002")
    for table in ("deliveries", "channels", "outbox", "device_tokens"):
        connection = await asyncpg.connect(url)
        await connection.execute(f"BEGIN; LOCK TABLE notify.{table} IN ACCESS SHARE MODE")
        try:
            async with asyncio.timeout(60):
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await asyncio.to_thread(migrations.upgrade, url)
        finally:
            await connection.close()
    await asyncio.to_thread(migrations.upgrade, url)
