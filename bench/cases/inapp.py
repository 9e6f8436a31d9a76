"""Notifications through one in-app worker process: claimed, put into the inbox and settled, all durably."""

from functools import partial
from time import perf_counter
from typing import Any

from redis.asyncio import Redis

from bench.drains import INAPP
from bench.load import filled
from bench.measure import consumed, drained
from bench.processes import service
from bench.run import Goal, Result, at_least, of_rounds
from bench.servers import Servers
from bench.session import Session
from outbox.streams import GROUP


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    servers = await session.servers()
    rows = session.pick(500, 100_000)
    template = await filled(servers, "accepted", rows, accepted=True)
    found = await session.alternate(
        {
            "ours": partial(delivered, servers, template, rows),
            "stream": partial(stream_alone, servers, template, rows),
        }
    )
    await servers.drop(template)
    result = of_rounds(found, "notifications/s", [], ["stream"])
    result.detail["backlog"] = rows
    return result, [at_least("notifications/s", result.figure, 5_000)]


async def delivered(servers: Servers, template: str, rows: int) -> float:
    """The backlog is in the stream and the relay gone when the worker comes."""
    async with servers.fresh(template) as database, servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            await drained(redis, rows, INAPP)
        await servers.checkpoint()
        async with service("worker", "worker", "inapp", servers=servers, database=database):
            rate = await consumed(redis, rows, INAPP)
        async with servers.admin(database.name) as conn:
            there = await conn.fetchval("SELECT count(*) FROM notify.inbox")
        if there != rows:
            raise RuntimeError(f"the stream is empty, but {there} of {rows} notifications are in the inbox")
        return rate


async def stream_alone(servers: Servers, template: str, rows: int) -> float:
    """The limit of Redis alone: the same entries taken, acknowledged and deleted, and nothing done with them."""
    async with servers.fresh(template) as database, servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            await drained(redis, rows, INAPP)
        await redis.xgroup_create(INAPP, GROUP, id="0")
        began_at = perf_counter()
        while ids := await taken(redis):
            pipe = redis.pipeline(transaction=False)
            pipe.xack(INAPP, GROUP, *ids)
            pipe.xdel(INAPP, *ids)
            await pipe.execute()
        return rows / (perf_counter() - began_at)


async def taken(redis: Redis) -> list[bytes]:
    """The ids of the next entries."""
    reply: Any = await redis.xreadgroup(GROUP, "bench", {INAPP: ">"}, count=500)
    return [entry_id for entry_id, _ in reply[0][1]] if reply else []
