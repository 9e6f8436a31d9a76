"""The API's statement for many rows at once: one commit, and a row that breaks a rule is that row's own affair."""

import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from db.pool import Executor
from db.producer import Row
from db.statements import load

SQL = load("intake")

# Where Row has the dedup_key. Batches in the order of their keys never wait for each other in a ring.
KEY = 7

# What became of a row that was not plainly taken: the first notification of its dedup_key, or why Postgres refused it.
Odd = UUID | asyncpg.PostgresError


async def accept(conn: Executor, rows: Sequence[Row]) -> dict[int, Odd]:
    """By place in `rows`; what is missing was taken under its own id. Committed when it returns. The rows must be in
    the order of their dedup_keys. Safe to repeat with the same ids.

    Raises asyncpg's errors for what concerns all of them; then none is taken, unless the connection was lost.
    """
    columns = (list(column) for column in zip(*rows, strict=True))
    records = await conn.fetch(SQL["accept"], *columns)
    return {place - 1: first or error(fault) for place, first, fault in records}


def error(fault: str) -> asyncpg.PostgresError:
    """As the driver makes it from Postgres' message, by the same letters."""
    return asyncpg.PostgresError.new(json.loads(fault))
