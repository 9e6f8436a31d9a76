"""What `outbox doctor` asks Postgres (db/sql/doctor.sql). Reads only, and little."""

from datetime import datetime

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("doctor")


async def server(conn: Executor) -> Record:
    return await one(conn, "server")


async def connections(conn: Executor) -> Record:
    return await one(conn, "connections")


async def long_transactions(conn: Executor, seconds: float) -> list[Record]:
    return await conn.fetch(SQL["long_transactions"], seconds)


async def sees_all(conn: Executor) -> bool:
    sees: bool = await conn.fetchval(SQL["sees_all"])
    return sees


async def prepared(conn: Executor, seconds: float) -> list[Record]:
    return await conn.fetch(SQL["prepared"], seconds)


async def slots(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["slots"])


async def notification_queue(conn: Executor) -> float:
    usage: float = await conn.fetchval(SQL["notification_queue"])
    return usage


async def wraparound(conn: Executor) -> Record:
    return await one(conn, "wraparound")


async def bloat(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["bloat"])


async def login(conn: Executor) -> Record:
    return await one(conn, "login")


async def lacking(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["lacking"])


async def excess(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["excess"])


async def rewritable(conn: Executor) -> bool:
    may: bool = await conn.fetchval(SQL["rewritable"])
    return may


async def kept(conn: Executor) -> Record:
    return await one(conn, "kept")


async def half_built(conn: Executor) -> list[str]:
    return [record["name"] for record in await conn.fetch(SQL["half_built"])]


async def clock(conn: Executor) -> float:
    """Postgres' clock, in seconds since 1970."""
    seconds: float = await conn.fetchval(SQL["clock"])
    return seconds


async def default_rows(conn: Executor) -> int:
    """10,000 stands for that many or more."""
    rows: int = await conn.fetchval(SQL["default_rows"])
    return rows


async def sizes(conn: Executor) -> dict[str, int]:
    return {record["name"]: record["bytes"] for record in await conn.fetch(SQL["sizes"])}


async def span(conn: Executor, from_id: int, to_id: int) -> tuple[datetime | None, datetime | None]:
    """When the first and the last row with from_id ≤ id < to_id were written."""
    record = await conn.fetchrow(SQL["span"], from_id, to_id)
    assert record is not None
    return record["first_at"], record["last_at"]


async def behind(conn: Executor) -> list[str]:
    return await conn.fetchval(SQL["behind"]) or []


async def dead_letters(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["dead_letters"])


async def overdue(conn: Executor, seconds: float) -> tuple[int, float]:
    """Rows that were due so long ago, and for how many seconds the first of them has been."""
    record = await conn.fetchrow(SQL["overdue"], seconds)
    assert record is not None
    return record["rows"], record["seconds"]


async def expiring_keys(conn: Executor, seconds: float) -> list[Record]:
    return await conn.fetch(SQL["expiring_keys"], seconds)


async def one(conn: Executor, name: str) -> Record:
    record = await conn.fetchrow(SQL[name])
    assert record is not None
    return record
