"""Old notifications go (db/sql/retention.sql): a few at a time, from the oldest on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("retention")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """In the order of notifications by age. BEGINNING lies before all of them."""

    at: datetime
    id: UUID


BEGINNING = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Thinned:
    """A user's inbox afterwards, and which of its items are gone."""

    user_id: str
    last_seq: int
    unread: int
    version: int
    seqs: list[int]


@dataclass(frozen=True, slots=True)
class Purge:
    """One step: what was made before when could go, how many were looked at, the last of them, the first that stayed;
    and the rows that went, by table."""

    before: datetime
    looked: int
    last: Place | None
    stayed: Place | None
    rows: Mapping[str, int]
    inboxes: list[Thinned]


async def limit_time(conn: Executor) -> None:
    """For the rest of the transaction, which then fails with QueryCanceledError."""
    await conn.execute(SQL["limit_time"])


async def purge(conn: Executor, keep: timedelta, after: Place, limit: int) -> Purge:
    """Of the `limit` oldest behind a place, those that are over, and older than `keep`. Raises CheckViolationError for
    less than a day, ObjectNotInPrerequisiteStateError as long as their index is missing."""
    row = await conn.fetchrow(SQL["purge"], keep, after.at, after.id, limit)
    assert row is not None
    return purge_of(row)


def purge_of(row: Record) -> Purge:
    return Purge(
        before=row["before"],
        looked=row["looked"],
        last=place_of(row["last_at"], row["last_id"]),
        stayed=place_of(row["stayed_at"], row["stayed_id"]),
        rows=json.loads(row["purged"]),
        inboxes=[Thinned(**inbox) for inbox in json.loads(row["inboxes"])],
    )


def place_of(at: datetime | None, notification_id: UUID | None) -> Place | None:
    return None if at is None or notification_id is None else Place(at, notification_id)
