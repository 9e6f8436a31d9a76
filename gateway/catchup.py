"""Reads from Postgres what a session lacks, page by page, and hands on the frames: one round.

A connection is held for a page, never while a client is written to, and only so many rounds read at once: a
storm of reconnections queues here and leaves the pool to others. Safe to repeat: the session sieves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from db import inbox
from db.pool import Executor, Pool
from gateway.metrics import CATCH_UP
from gateway.protocol import Outgoing
from gateway.session import FIRST, PAGE, Session

Send = Callable[[list[Outgoing]], Awaitable[None]]


class Reader:
    """Turns at reading: a pool, and how many may use it for this at once."""

    def __init__(self, pool: Pool, at_once: int) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Executor]:
        with CATCH_UP.time():
            async with self._turns, self._pool.acquire() as conn:
                yield conn


async def catch_up(reader: Reader, session: Session, send: Send) -> None:
    """One round. Raises what `send` raises, and one of db.pool.OUTAGES."""
    async with reader.turn() as conn:
        session.start()
        frames = session.begin(await inbox.counters(conn, session.user_id))
        low, high = session.marks_span()
        if low < high:
            frames += session.marked(await inbox.marks(conn, session.user_id, (low, high)))
        frames += await read_page(conn, session)
    await send(frames)
    while session.reading:
        async with reader.turn() as conn:
            frames = await read_page(conn, session)
        await send(frames)


async def read_page(conn: Executor, session: Session) -> list[Outgoing]:
    low, high = session.items_span()
    if low >= high:
        return session.page([])
    if session.fresh:
        return session.page(await inbox.latest(conn, session.user_id, (low, high), FIRST))
    return session.page(await inbox.items(conn, session.user_id, (low, high), PAGE))
