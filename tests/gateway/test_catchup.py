"""Turns at reading: catch-ups never have the whole pool."""

import asyncio

from db.pool import open_pool
from gateway.catchup import Reader
from outbox.settings import Settings


async def test_a_turn_is_waited_for_while_the_pool_still_has_connections(settings: Settings) -> None:
    pool = await open_pool(settings.database, name="test", size=3)
    reader, order, leave = Reader(pool, at_once=2), [], asyncio.Event()

    async def read(name: str) -> None:
        async with reader.turn() as conn:
            await conn.fetchval("SELECT 1")
            order.append(name)
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second", "third"):
            tasks.create_task(read(name))
        async with asyncio.timeout(10):
            while len(order) < 2:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.01)
            async with pool.acquire() as conn:  # what a client's change would do
                await conn.fetchval("SELECT pg_sleep(0.05)")
        assert order == ["first", "second"]
        leave.set()
    assert order == ["first", "second", "third"]
    pool.terminate()
