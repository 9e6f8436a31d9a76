"""From the last release to this one, with rows in every table, while processes of the last release go on."""

import asyncio
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from db import migrations
from db.pool import Connection
from tests import servers
from tests.db import releases
from tests.db.seeded_release import SEED

LAST = releases.releases()[-1]
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'notify'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname <> 'alembic_version' ORDER BY relname
"""
PRODUCE = """
INSERT INTO notify.outbox
  (notification_id, event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key, priority,
   deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)
VALUES ($1, 'order.paid', 'ada', 'bob', '{inapp,email}', '{"title": "Paid"}', NULL, NULL, 'normal',
        NULL, now() + interval '1 day', NULL, NULL, NULL, NULL, NULL)
"""


@pytest.fixture
async def installed() -> AsyncIterator[str]:
    """A database as the last release left it, with rows in every table."""
    admin = os.environ[servers.ADMIN_URL]
    connection = await asyncpg.connect(admin)
    name = f"test_{uuid4().hex[:16]}"
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    url = servers.in_database(admin, name)
    try:
        await asyncio.to_thread(migrations.upgrade, url, LAST)
        yield url
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def counts(connection: Connection) -> dict[str, int]:
    names = [row[0] for row in await connection.fetch(TABLES)]
    return {name: await connection.fetchval(f"SELECT count(*) FROM notify.{name}") for name in names}


async def test_every_row_of_every_table_is_still_there(installed: str) -> None:
    connection = await asyncpg.connect(installed)
    try:
        await connection.execute(SEED)
        before = await counts(connection)
        assert [name for name, rows in before.items() if not rows] == []
        await asyncio.to_thread(migrations.upgrade, installed)
        after = await counts(connection)
        assert {name: after[name] for name in before} == before
    finally:
        await connection.close()


async def test_statements_of_the_last_release_are_still_understood(installed: str) -> None:
    """Its processes run on while the new ones start: every statement of theirs is one of the new schema, too, with
    the rights of the service."""
    await asyncio.to_thread(migrations.upgrade, installed)
    name = installed.rpartition("/")[2]
    connection = await asyncpg.connect(servers.in_database(installed, name, "outbox_test_app"))
    refused = {}
    try:
        for name, statement in releases.statements(LAST).items():
            try:
                await connection.prepare(statement)
            except asyncpg.PostgresError as error:
                refused[name] = str(error)
    finally:
        await connection.close()
    assert refused == {}


async def test_a_statement_that_the_schema_lost_would_be_found(installed: str) -> None:
    connection = await asyncpg.connect(installed)
    try:
        await connection.execute("ALTER TABLE notify.relay_ticks RENAME COLUMN tops TO peaks")
        with pytest.raises(asyncpg.UndefinedColumnError):
            await connection.prepare(releases.statements(LAST)["relay__last_ticks"])
    finally:
        await connection.close()


async def test_producers_of_the_last_release_go_on(installed: str) -> None:
    """They wait for a lock at most, and none of their transactions fails."""
    migrating = asyncio.create_task(asyncio.to_thread(migrations.upgrade, installed))
    numbers = await asyncio.gather(*(produce(installed, migrating) for _ in range(3)))
    await migrating
    numbers += await asyncio.gather(produce(installed, migrating))
    connection = await asyncpg.connect(installed)
    try:
        assert await connection.fetchval("SELECT count(*) FROM notify.notifications") == sum(numbers) > 3
    finally:
        await connection.close()


async def produce(url: str, until: "asyncio.Task[None]") -> int:
    """At least one, and then until it is done; how many."""
    name = url.rpartition("/")[2]
    connection = await asyncpg.connect(
        servers.in_database(url, name, "outbox_test_producer"), statement_cache_size=0
    )
    number = 0
    try:
        while not number or not until.done():
            await connection.execute(PRODUCE, uuid4())
            number += 1
    finally:
        await connection.close()
    return number
