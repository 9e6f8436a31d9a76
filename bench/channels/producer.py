"""Producers: rows in transactions of their own size, each for one channel, by turns; and what they committed."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import uuid4

import asyncpg

from bench.channels.ground import PEOPLE
from db.pool import Connection

CHANNELS = ("inapp", "email", "sms", "push", "webhook")
BATCH = 500
# Every 97th is too late from the beginning. Producers may not read the outbox, so the ids are theirs.
INSERT = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload, priority, expires_at)
SELECT id, 'bench.order', 'u' || 1 + i % $3::int, ARRAY[channel],
       jsonb_build_object('title', 'Order ' || i, 'body', 'It is on its way: ' || i),
       CASE i % 10 WHEN 0 THEN 'urgent' WHEN 9 THEN 'bulk' ELSE 'normal' END,
       CASE WHEN i % 97 = 0 THEN clock_timestamp() + interval '1 millisecond' END
FROM (SELECT id, channel, $4::int + place - 1 AS i
      FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS r (id, channel, place)) r
"""


async def rows(url: str, number: int, *, batch: int = BATCH) -> AsyncIterator[list[tuple[str, str]]]:
    """(notification, channel) of each transaction, once it is committed."""
    conn = await asyncpg.connect(url)
    try:
        for first in range(1, number + 1, batch):
            last = min(first + batch - 1, number)
            yield await insert(conn, first, last)
    finally:
        await conn.close()


async def insert(conn: Connection, first: int, last: int) -> list[tuple[str, str]]:
    made = [(uuid4(), CHANNELS[number % len(CHANNELS)]) for number in range(first, last + 1)]
    ids, channels = zip(*made, strict=True)
    await conn.execute(INSERT, ids, channels, PEOPLE, first)
    return [(str(notification), channel) for notification, channel in made]


async def steady(url: str, rate: float, seconds: float) -> int:
    """So many rows a second, one a transaction. Gives the number."""
    conn = await asyncpg.connect(url)
    began, number = monotonic(), 0
    try:
        while (elapsed := monotonic() - began) < seconds:
            while number < elapsed * rate:
                number += 1
                await insert(conn, number, number)
            await asyncio.sleep(0.005)
    finally:
        await conn.close()
    return number
