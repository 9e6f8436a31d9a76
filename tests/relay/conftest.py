"""A relay under test, in this process, and an outside reader of its streams."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis.asyncio as aioredis

from outbox.envelope import Envelope, from_entry
from outbox.service import Stop
from outbox.settings import Settings
from relay import main as relay_main
from relay.entries import StreamId


@dataclass(slots=True)
class Reader:
    """Reads streams from outside, as a consumer that never deletes would."""

    redis: aioredis.Redis
    settings: Settings

    async def raw(self, stream: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        answer: Any = await self.redis.xrange(stream)
        return list(answer)

    async def entries(
        self, channel: str = "inapp", priority: str = "normal"
    ) -> list[tuple[StreamId, Envelope]]:
        raw = await self.raw(self.settings.keys.stream(channel, priority))
        return [(StreamId.parse(entry_id), from_entry(fields)[0]) for entry_id, fields in raw]

    async def users(self, channel: str = "inapp", priority: str = "normal") -> list[str]:
        return [envelope.user_id for _, envelope in await self.entries(channel, priority)]

    async def until(self, check: Callable[["Reader"], Awaitable[bool]], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not await check(self):  # noqa: ASYNC110 - Redis is asked: there is no event to wait on
                await asyncio.sleep(0.005)

    async def until_users(self, users: list[str], channel: str = "inapp", seconds: float = 60) -> None:
        """Wait for exactly these, in this order; the failure says what was there instead."""
        try:
            await self.until(lambda reader: has(reader, users, channel), seconds)
        except TimeoutError:
            assert await self.users(channel) == users
            raise


async def has(reader: Reader, users: list[str], channel: str) -> bool:
    return await reader.users(channel) == users


@pytest.fixture
def reader(redis: aioredis.Redis, settings: Settings) -> Reader:
    return Reader(redis, settings)


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[Stop]:
    """A relay process's main, as a task."""
    stop = Stop()
    task = asyncio.create_task(relay_main.main(settings, stop))
    try:
        yield stop
    finally:
        stop.ask()
        async with asyncio.timeout(60):
            await task
