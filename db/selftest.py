"""How far the notifications of a self-test have come (db/sql/selftest.sql)."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("selftest")


@dataclass(frozen=True, slots=True)
class Start:
    xid: int
    ms: int


@dataclass(frozen=True, slots=True)
class Way:
    """One notification's times, in seconds since 1970 by Postgres' clock; None: not there yet."""

    id: UUID
    lane: str
    created: float
    ticked: float | None
    claimed: float | None
    settled: float | None
    status: str | None


async def start(conn: Executor) -> Start:
    record = await conn.fetchrow(SQL["start"])
    assert record is not None
    return Start(**record)


async def hops(conn: Executor, begun: Start, ids: Iterable[UUID], channel: str) -> list[Way]:
    return [Way(**row) for row in await conn.fetch(SQL["hops"], begun.xid, begun.ms, list(ids), channel)]
