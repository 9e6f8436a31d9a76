"""A gateway, and inboxes to fill."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from db.pool import Connection, Pool
from outbox.settings import Settings
from tests.gateway.harness import Gate, Inbox, serving


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Gate]:
    async with serving(settings) as gate:
        yield gate


@pytest.fixture
def inbox(settings: Settings, pool: Pool, redis: "aioredis.Redis", producer: Connection) -> Inbox:
    return Inbox(settings, pool, redis, producer)
