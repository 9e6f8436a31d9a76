"""All checks at once, each by itself: one that fails or hangs is a finding, and stops no other."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from redis.exceptions import RedisError

from db import status
from db.dsn import TELL_OF_IT, place, untold
from db.pool import OUTAGES, Pool, options
from outbox.doctor import (
    channels,
    clocks,
    dates,
    listening,
    log,
    memory,
    road,
    roles,
    server,
    setup,
    tables,
)
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok, warn
from outbox.errors import OutboxError
from outbox.nodes import Nodes
from outbox.service import describe
from outbox.settings import Settings

AREAS = (
    setup.AREA, server.AREA, tables.AREA, roles.AREA, listening.AREA, log.AREA,
    memory.AREA, clocks.AREA, road.AREA, channels.AREA, dates.AREA,
)  # fmt: skip
REACH_SECONDS, CHECK_SECONDS = 2.0, 2.5
CONNECTIONS = 6
Report = dict[str, list[Finding]]


async def examine(settings: Settings, *, providers: bool = False) -> Report:
    """Findings by area, in the order in which they are best read. Takes at most five seconds."""
    async with AsyncExitStack() as stack:
        nodes = Nodes(settings.redis, socket_connect_timeout=REACH_SECONDS, socket_timeout=CHECK_SECONDS)
        stack.push_async_callback(nodes.aclose)
        pool = await pool_of(settings)
        stack.callback(pool.terminate)
        desk = Desk(settings, pool, nodes, providers)
        reached = dict(
            zip(("postgres", "redis"), await asyncio.gather(postgres(desk), redis(desk)), strict=True)
        )
        away = frozenset(name for name, finding in reached.items() if finding.advice)
        found = await asyncio.gather(*(look_at(area, desk, away) for area in AREAS))
    return {"reach": list(reached.values())} | {
        area.name: part for area, part in zip(AREAS, found, strict=True)
    }


async def pool_of(settings: Settings) -> Pool:
    hurried = {"timeout": REACH_SECONDS, "command_timeout": CHECK_SECONDS}
    return await asyncpg.create_pool(
        min_size=0, max_size=CONNECTIONS, **options(settings.database, "doctor") | hurried
    )


async def postgres(desk: Desk) -> Finding:
    """A finding with advice is one without which nothing about Postgres can be asked."""
    there = place(desk.settings.database)
    try:
        async with asyncio.timeout(REACH_SECONDS):
            ready = await desk.ask(status.schema_is_there)
    except OUTAGES as error:
        return fail("reach.postgres", f"PostgreSQL at {there} cannot be used: {plainly(error)}", cure(error))
    if not ready:
        return fail("reach.postgres", f"the database {there} has no schema notify", "outbox migrate")
    return ok("reach.postgres", f"PostgreSQL at {there} answers")


def cure(error: BaseException) -> str:
    return f"this is a pooler: {TELL_OF_IT}" if untold(error) else "is it running, and is DATABASE_URL right?"


async def redis(desk: Desk) -> Finding:
    there = place(desk.settings.redis)
    try:
        async with asyncio.timeout(REACH_SECONDS):
            await desk.nodes.check()
    except (OSError, RedisError, RuntimeError, OutboxError) as error:
        return fail(
            "reach.redis",
            f"Redis at {there} cannot be used: {plainly(error)}",
            "is it running, and is REDIS_URL right?",
        )
    return ok("reach.redis", f"Redis at {there} answers")


def plainly(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error).partition("\n")[0].rstrip(".") or describe(error)


async def look_at(area: Area, desk: Desk, away: frozenset[str]) -> list[Finding]:
    if missing := area.needs & away:
        return [note(area.name, f"not looked at without {' and '.join(sorted(missing))}")]
    found = await asyncio.gather(*(done(check, desk) for check in area.checks))
    return [finding for part in found for finding in part]


async def done(check: Check[Any], desk: Desk) -> Iterable[Finding]:
    """Whatever a check meets is what it has found."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return list(check.judge(await check.gather(desk)))
    except TimeoutError:
        why = f"no answer within {CHECK_SECONDS:g} s"
        return [
            warn(check.name, why, "is this machine or the server overloaded? Ask again, then see its log")
        ]
    except Exception as error:
        return [fail(check.name, f"could not be looked at: {plainly(error)}", "see the server's log")]
