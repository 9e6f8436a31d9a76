"""Turns at reading: catch-ups never have the whole pool."""

import asyncio

from db.pool import open_pool
from gateway.catchup import Reader
from outbox.settings import Settings


async def test_a_turn_is_waited_for_while_the_pool_still_has_connections(settings: Settings) -> None:
    pool = await open_pool(settings.database, name="test", size=3)
    reader, inside, leave = Reader(pool, at_once=2), asyncio.Semaphore(0), asyncio.Event()

    async def read() -> None:
        async with reader.turn() as conn:
            await conn.fetchval("SELECT 1")
            inside.release()
            await leave.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(read())
        await inside.acquire()
        await inside.acquire()
        # What a client's change would do. Where the third had a turn, it would hold this one, which it asked for first.
        async with pool.acquire() as conn:
            await conn.fetchval("SELECT 1")
        assert inside.locked()
        leave.set()
        await inside.acquire()
    pool.terminate()
