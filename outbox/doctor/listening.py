"""LISTEN through whatever lies between here and Postgres: does a notification really come back?

A pooler in transaction mode takes LISTEN without a word and then gives the server's connection to somebody else. So
a second client opens a transaction, which takes such a connection away, before the first is asked whether it listens.
"""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg

from db.dsn import without_parameter
from db.pool import OUTAGES, Connection
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok

HEARD_WITHIN_SECONDS = 1.5
STILL_LISTENS = "SELECT EXISTS (SELECT FROM pg_listening_channels() AS c WHERE c = '{channel}')"


@dataclass(frozen=True, slots=True)
class Heard:
    """`pooled`: somebody answers for Postgres. `kept`: the session that said LISTEN is still the one that is asked."""

    pooled: bool
    kept: bool
    seconds: float | None
    key: str


async def listen(desk: Desk) -> Heard:
    url = desk.settings.listen_database
    key = "OUTBOX_LISTEN_DATABASE_URL" if desk.settings.listen_database_url else "DATABASE_URL"
    first, second = await asyncio.gather(plain(url), plain(url))
    try:
        return await round_trip(first, second, key)
    finally:
        first.terminate()
        second.terminate()


async def plain(url: str) -> Connection:
    """Nothing prepared and nothing set at the start: poolers may know neither."""
    return await asyncpg.connect(without_parameter(url)[0], statement_cache_size=0, timeout=2)


async def round_trip(first: Connection, second: Connection, key: str) -> Heard:
    channel, heard = f"outbox_doctor_{secrets.token_hex(6)}", asyncio.Event()
    await first.add_listener(channel, lambda *_: heard.set())
    async with second.transaction():
        pid = await second.fetchval("SELECT pg_backend_pid()")
        kept = await still_listens(first, channel)
        await second.execute(f"NOTIFY {channel}")
    seconds = await waited(heard)
    return Heard(pid != second.get_server_pid(), kept, seconds, key)


async def still_listens(conn: Connection, channel: str) -> bool:
    """In a transaction, so that one session of the server answers all of it. False where a pooler has none to spare."""
    try:
        async with asyncio.timeout(1), conn.transaction():
            answer: Any = await conn.fetchval(STILL_LISTENS.format(channel=channel))
    except OUTAGES:
        return False
    return bool(answer)


async def waited(heard: asyncio.Event) -> float | None:
    began = monotonic()
    try:
        async with asyncio.timeout(HEARD_WITHIN_SECONDS):
            await heard.wait()
    except TimeoutError:
        return None
    return monotonic() - began


def judge(heard: Heard) -> Iterator[Finding]:
    if heard.seconds is not None and heard.kept:
        by = ", through a pooler in session mode" if heard.pooled else ""
        yield ok("listen", f"a notification came back in {heard.seconds * 1000:.1f} ms{by}")
    elif heard.pooled:
        yield fail(
            "listen",
            f"{heard.key}: this is a pooler in transaction mode. LISTEN does not pass, so the relay finds "
            "rows by its slow poll only",
            "set OUTBOX_LISTEN_DATABASE_URL to an address of Postgres itself",
        )
    else:
        yield fail(
            "listen",
            f"no notification came back over {heard.key} within {HEARD_WITHIN_SECONDS} s",
            "set OUTBOX_LISTEN_DATABASE_URL to an address of Postgres itself, and see what lies between",
        )


AREA = Area("listen", frozenset({"postgres"}), (Check("listen", listen, judge),))
