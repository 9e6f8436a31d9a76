"""What `outbox status` looks at (db/sql/status.sql). Reads only."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("status")


async def schema_is_there(connection: Executor) -> bool:
    there: bool = await connection.fetchval(SQL["schema_is_there"])
    return there


async def revision(connection: Executor) -> str | None:
    """The schema's revision; None before the first migration."""
    if not await connection.fetchval(SQL["revisions_are_kept"]):
        return None
    number: str | None = await connection.fetchval(SQL["revision"])
    return number


async def relay(connection: Executor) -> Record:
    record = await connection.fetchrow(SQL["relay"])
    assert record is not None
    return record


async def lag(connection: Executor, at_most: int) -> tuple[int, float]:
    """Rows that the relay has not taken yet (up to twice `at_most`), and the oldest one's age in seconds."""
    record = await connection.fetchrow(SQL["lag"], at_most)
    assert record is not None
    return record["rows"], record["seconds"]


async def channels(connection: Executor) -> list[Record]:
    return await connection.fetch(SQL["channels"])


async def deliveries(connection: Executor, since: datetime) -> list[Record]:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return await connection.fetch(SQL["deliveries"], lowest_uuid7(since), lowest_uuid7(tomorrow), since)


async def scheduled(connection: Executor) -> list[Record]:
    return await connection.fetch(SQL["scheduled"])


async def dead_letters(connection: Executor) -> list[Record]:
    return await connection.fetch(SQL["dead_letters"])


def lowest_uuid7(moment: datetime) -> UUID:
    """Lower than every UUIDv7 made from this moment on (RFC 9562 §5.7: it begins with Unix milliseconds)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
