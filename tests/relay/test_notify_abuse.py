"""A login that notifies the relay as often as it can, with whatever it likes: the relay looks, and does its work."""

from typing import Any

import asyncpg

from db.pool import Connection
from outbox.settings import Settings
from relay import metrics
from tests.conftest import Database
from tests.relay.conftest import Reader, relaying

FLOOD = 300


async def test_a_flood_of_notifications_costs_looks_and_nothing_else(
    settings: Settings, database: Database, producer: Connection, redis: Any
) -> None:
    async with relaying(settings):
        reader = Reader(redis, settings)
        await producer.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'before')")
        await reader.until_users(["before"])
        ticks = ticks_made()
        vandal = await asyncpg.connect(database.producer)
        try:
            for _ in range(FLOOD):
                await vandal.execute("SELECT pg_notify('notify_relay', repeat('x', 7999))")
        finally:
            await vandal.close()
        await producer.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'after')")
        await reader.until_users(["before", "after"])
        assert ticks_made() == ticks + 1, "a look that finds nothing leaves no trace"
    assert await producer.fetchval("SELECT pg_notification_queue_usage()") < 0.01


def ticks_made() -> float:
    made: float = metrics.TICKS._value.get()
    return made
