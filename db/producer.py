"""A producer's one statement, on whichever connection the producer has, in the producer's transaction."""

import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg

from db.pool import Executor
from db.statements import load

SQL = load("producer")

# The values of one row as text, in the order of the statements' columns.
Row = tuple[str | None, ...]


def first_id(rows: int, last_id: str | None) -> UUID | None:
    """None where the row went into the log; otherwise the one that it repeats, or its own, for later."""
    return None if rows or not last_id else UUID(last_id)


async def insert(conn: Executor, row: Row) -> UUID | None:
    """Over asyncpg. Raises asyncpg.PostgresError."""
    [found] = await conn.fetch(SQL["insert"], *row)
    return first_id(*found)


async def insert_many(conn: Executor, rows: Sequence[Row]) -> int:
    """How many went into the log; the others repeat a dedup_key or are for later. All or nothing."""
    status = await conn.execute(SQL["insert_many"], *(list(column) for column in zip(*rows, strict=True)))
    return int(status.rpartition(" ")[2])


async def insert_psycopg_async(conn: Any, row: Row) -> UUID | None:
    """Over an AsyncConnection of psycopg 3. Raises psycopg.Error."""
    from psycopg import AsyncRawCursor  # noqa: PLC0415 - optional: whoever gets here has it
    from psycopg.rows import tuple_row  # noqa: PLC0415

    # Raw: it takes the statement's own $n, whatever cursor and rows the connection makes by default.
    async with AsyncRawCursor(conn, row_factory=tuple_row) as cursor:
        await cursor.execute(SQL["insert"], row)
        [found] = await cursor.fetchall()
        return first_id(*found)


def insert_psycopg(conn: Any, row: Row) -> UUID | None:
    """Over a Connection of psycopg 3. Raises psycopg.Error."""
    from psycopg import RawCursor  # noqa: PLC0415 - optional: whoever gets here has it
    from psycopg.rows import tuple_row  # noqa: PLC0415

    with RawCursor(conn, row_factory=tuple_row) as cursor:
        cursor.execute(SQL["insert"], row)
        [found] = cursor.fetchall()
        return first_id(*found)


async def insert_sqlalchemy_async(conn: Any, row: Row) -> UUID | None:
    """Over an AsyncConnection or AsyncSession of SQLAlchemy. Raises sqlalchemy.exc.DBAPIError."""
    result = await conn.execute(named_insert(), named(row))
    return first_id(*result.one())


def insert_sqlalchemy(conn: Any, row: Row) -> UUID | None:
    """Over a Connection or Session of SQLAlchemy. Raises sqlalchemy.exc.DBAPIError."""
    return first_id(*conn.execute(named_insert(), named(row)).one())


def named_placeholders(sql: str) -> str:
    """$1 as :p1, the way SQLAlchemy's text() has them; its `::type` it leaves alone."""
    return re.sub(r"\$(\d+)", r":p\1", sql)


def named(row: Row) -> dict[str, str | None]:
    return {f"p{number}": value for number, value in enumerate(row, 1)}


@cache
def named_insert() -> Any:
    from sqlalchemy import text  # noqa: PLC0415 - optional: whoever gets here has it

    return text(named_placeholders(SQL["insert"]))


AsyncInsert = Callable[[Any, Row], Awaitable[UUID | None]]
SyncInsert = Callable[[Any, Row], UUID | None]

# The connections that can be used, by package and class.
ASYNC: Mapping[str, AsyncInsert] = {
    "asyncpg.Connection": insert,
    "asyncpg.PoolConnectionProxy": insert,
    "psycopg.AsyncConnection": insert_psycopg_async,
    "sqlalchemy.AsyncConnection": insert_sqlalchemy_async,
    "sqlalchemy.AsyncSession": insert_sqlalchemy_async,
    "sqlalchemy.async_scoped_session": insert_sqlalchemy_async,
}
SYNC: Mapping[str, SyncInsert] = {
    "psycopg.Connection": insert_psycopg,
    "sqlalchemy.Connection": insert_sqlalchemy,
    "sqlalchemy.Session": insert_sqlalchemy,
    "sqlalchemy.scoped_session": insert_sqlalchemy,
}


def driver_errors() -> tuple[type[Exception], ...]:
    """What the drivers in use raise for Postgres's errors; one that was never imported raises nothing."""
    found: list[type[Exception]] = [asyncpg.PostgresError]
    if psycopg := sys.modules.get("psycopg"):
        found.append(psycopg.Error)
    if sqlalchemy := sys.modules.get("sqlalchemy.exc"):
        found.append(sqlalchemy.DBAPIError)
    return tuple(found)
