"""A self-test carried out: written as a producer writes, followed in Postgres, and erased."""

import asyncio
import secrets
import time
from contextlib import suppress
from uuid import UUID

from db import recipients
from db import selftest as sql
from db.pool import Pool
from db.recipients import Facts
from db.selftest import Start, Way
from outbox import producer
from outbox.cli.commander import commander
from outbox.cli.privacy_work import pool_of
from outbox.cli.selftest_outcome import SETTLED, Trial, judged
from outbox.cli.selftest_view import show
from outbox.erasure import eraser
from outbox.settings import Settings
from outbox.streams import LANES

# Nobody's id begins so but by intent; the rest lets two tests run at once.
PREFIX = "outbox-selftest-"
LOOK_SECONDS = 0.05


async def run(settings: Settings, test: Trial, *, as_json: bool) -> int:
    """The exit code. Whatever happens on the way, what was written is erased."""
    user_id = f"{PREFIX}{secrets.token_hex(6)}"
    async with pool_of(settings) as pool:
        try:
            outcome = judged(test, await carried_out(pool, test, user_id))
        finally:
            await erase(pool, settings, user_id)
    show(outcome, test, as_json=as_json)
    return 1 if outcome.troubles else 0


async def carried_out(pool: Pool, test: Trial, user_id: str) -> list[Way]:
    async with pool.acquire() as conn:
        begun = await sql.start(conn)
        if test.address:
            await recipients.put(conn, user_id, Facts(test.address, None, None, None, None))
    ids = []
    for number in range(test.count):
        ids.append(await send(pool, test, user_id, number))
        await asyncio.sleep(1 / test.rate)
    return await followed(pool, test, begun, ids)


async def send(pool: Pool, test: Trial, user_id: str, number: int) -> UUID:
    async with pool.acquire() as conn, conn.transaction():
        return await producer.enqueue(
            conn,
            event_type="outbox.selftest",
            user_id=user_id,
            channels=[test.channel],
            priority=LANES[number % len(LANES)],
            payload={"title": f"Self-test {number + 1}", "body": "Sent by `outbox selftest`."},
        )


async def followed(pool: Pool, test: Trial, begun: Start, ids: list[UUID]) -> list[Way]:
    """Until all are settled, or the time is over."""
    deadline = time.monotonic() + test.timeout
    while True:
        async with pool.acquire() as conn:
            ways = await sql.hops(conn, begun, ids, test.channel)
        if all(way.status in SETTLED for way in ways) or time.monotonic() > deadline:
            return ways
        await asyncio.sleep(LOOK_SECONDS)


async def erase(pool: Pool, settings: Settings, user_id: str) -> None:
    """By the road that a person's erasure takes: any running API carries it out."""
    with suppress(asyncio.CancelledError):
        async with pool.acquire() as conn, conn.transaction():
            await eraser.request(conn, settings, commander(), user_id, [])
