"""Indexes that are built beside the producers: the same ones, again after a build cut short, once by two at once."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import asyncpg
import pytest

from db import migrations
from db.migrations import beside
from db.pool import Connection
from tests import servers
from tests.conftest import Database

DEFINITIONS = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'notify' AND indexname = ANY ($1)"
)
HALF_BUILT = """
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notify.notifications_user_id'::regclass
"""


# More than the migration dares to index while producers wait.
BIG = """
INSERT INTO notify.notifications (event_type, user_id, channels, payload, priority, created_at)
SELECT 'a', 'u' || i, '{inapp}', jsonb_build_object('text', repeat('x', 1500)), 'normal', now()
FROM generate_series(1, 25000) i
"""


@pytest.fixture
async def empty() -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    admin: Connection = await asyncpg.connect(os.environ[servers.ADMIN_URL])
    name = f"test_{uuid4().hex[:16]}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield servers.in_database(os.environ[servers.ADMIN_URL], name)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def definitions(admin: Connection) -> dict[str, str]:
    names: Sequence[str] = list(beside.INDEXES)
    return {row["indexname"]: row["indexdef"] for row in await admin.fetch(DEFINITIONS, names)}


async def test_the_same_as_on_a_small_table(admin: Connection, database: Database) -> None:
    """Where the migration itself has made them."""
    before = await definitions(admin)
    assert before.keys() == beside.INDEXES.keys()
    assert await beside.build(database.admin) == []
    for name in beside.INDEXES:
        await admin.execute(f"DROP INDEX notify.{name}")
    assert await beside.build(database.admin) == list(beside.INDEXES)
    assert await definitions(admin) == before


async def test_on_a_big_table_they_are_built_after_the_migration(empty: str) -> None:
    await asyncio.to_thread(migrations.upgrade, empty, "0003")
    connection: Connection = await asyncpg.connect(empty)
    try:
        await connection.execute(BIG)
        await asyncio.to_thread(migrations.upgrade, empty, "0004")
        assert await definitions(connection) == {}
        await asyncio.to_thread(migrations.upgrade, empty)
        assert (await definitions(connection)).keys() == beside.INDEXES.keys()
    finally:
        await connection.close()


async def test_one_left_half_built_is_begun_anew(admin: Connection, database: Database) -> None:
    await admin.execute(HALF_BUILT)
    assert await beside.build(database.admin) == ["notifications_user_id"]
    assert await beside.build(database.admin) == []


async def test_producers_write_meanwhile_and_a_second_one_leaves_it(
    admin: Connection, producer: Connection, database: Database
) -> None:
    """The build waits for a transaction that was open before; nobody waits for the build."""
    await admin.execute("DROP INDEX notify.notifications_user_id")
    insert = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u')"
    other: Connection = await asyncpg.connect(database.producer)
    async with producer.transaction():
        await producer.execute(insert)
        building = asyncio.create_task(beside.build(database.admin))
        await waits(admin)
        await other.execute(insert)
        assert await beside.build(database.admin) == []
        assert not building.done()
    assert await building == ["notifications_user_id"]
    await other.close()


async def waits(admin: Connection) -> None:
    """Until somebody builds an index and waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%CONCURRENTLY%' AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(60):
        while not await admin.fetchval(f"{query} AND pid <> pg_backend_pid()"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
