"""What the relays tell Prometheus of tables and server (db/sql/survey.sql). Reads only, each of bounded cost."""

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("survey")


async def dead_letters(conn: Executor, at_most: int) -> list[Record]:
    """Of each channel how many are open; `at_most` stands for that many or more."""
    return await conn.fetch(SQL["dead_letters"], at_most)


async def scheduled(conn: Executor, at_most: int) -> Record:
    """How many rows wait and are overdue, each up to `at_most`, and for how many seconds the first one is."""
    record = await conn.fetchrow(SQL["scheduled"], at_most)
    assert record is not None
    return record


async def server(conn: Executor) -> Record:
    """How full the notification queue is (0 to 1), and how many of `most` connections are taken."""
    record = await conn.fetchrow(SQL["server"])
    assert record is not None
    return record


async def ending_keys(conn: Executor, days: int, at_most: int) -> list[Record]:
    """API keys that end within so many days: id, name, and when, in Unix seconds."""
    return await conn.fetch(SQL["ending_keys"], days, at_most)


async def oldest_row(conn: Executor, at_most: int) -> float | None:
    """For how many seconds the oldest of the first rows has waited that no tick holds; None where there is none."""
    seconds: float | None = await conn.fetchval(SQL["oldest_row"], at_most)
    return seconds
