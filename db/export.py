"""All that is kept of one person, as JSON made by Postgres, a page at a time."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("export")


class Told(NamedTuple):
    """A notification with all that hangs on it, and its place among the person's."""

    created_at: datetime
    id: UUID
    document: str


class Acted(NamedTuple):
    """A notification of somebody else's that names the person."""

    id: UUID
    document: str


async def person(executor: Executor, user_id: str) -> str:
    document: str = await executor.fetchval(SQL["person"], user_id)
    return document


async def notifications(executor: Executor, user_id: str, after: Told | None, limit: int) -> list[Told]:
    """The oldest first. `after` is the last one of the page before."""
    place = (after.created_at, after.id) if after else (None, None)
    return [Told(*row) for row in await executor.fetch(SQL["notifications"], user_id, *place, limit)]


async def acted(executor: Executor, user_id: str, after: Acted | None, limit: int) -> list[Acted]:
    rows = await executor.fetch(SQL["acted"], user_id, after.id if after else None, limit)
    return [Acted(*row) for row in rows]
