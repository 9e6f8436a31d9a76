"""A user's inbox as it is read, and what its reader may change in it (db/sql/inbox.sql).

The in-app worker's insert is in db/delivery.py. An item counts as unread while it is neither read nor archived.
What belongs together in a change is in db/inbox_changes.py.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asyncpg import Record

from db.pool import Executor
from db.statements import load
from outbox.inbox import InboxItem

SQL = load("inbox")


@dataclass(frozen=True, slots=True)
class Counters:
    """`inbox_counters` at one moment. Zeros stand for a user who has never been sent anything."""

    last_seq: int = 0
    unread: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """The items that a statement changed, and for how many of them that changes the count of unread ones."""

    seqs: list[int]
    counting: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item stands, without what it says."""

    seq: int
    read: bool
    archived: bool


async def counters(conn: Executor, user_id: str) -> Counters:
    return counters_of(await conn.fetchrow(SQL["counters"], user_id))


async def versions(conn: Executor, user_ids: Sequence[str]) -> dict[str, int]:
    """Users without an inbox are left out."""
    rows = await conn.fetch(SQL["versions"], user_ids)
    return {row["user_id"]: row["version"] for row in rows}


async def items(conn: Executor, user_id: str, span: tuple[int, int], limit: int) -> list[InboxItem]:
    """Items above the first bound, up to and with the second, oldest first."""
    return [item_of(row) for row in await conn.fetch(SQL["items"], user_id, *span, limit)]


async def latest(conn: Executor, user_id: str, span: tuple[int, int], limit: int) -> list[InboxItem]:
    """The newest of a span that are not archived; these, too, oldest first."""
    return [item_of(row) for row in reversed(await conn.fetch(SQL["latest"], user_id, *span, limit))]


async def marks(conn: Executor, user_id: str, span: tuple[int, int]) -> list[Standing]:
    """The items of a span, oldest first."""
    return [Standing(*row) for row in await conn.fetch(SQL["marks"], user_id, *span)]


async def lock(conn: Executor, user_id: str) -> Counters:
    """Held until the transaction ends."""
    return counters_of(await conn.fetchrow(SQL["lock"], user_id))


async def mark_read(conn: Executor, user_id: str, seqs: Iterable[int]) -> Changed:
    return changed(await conn.fetch(SQL["mark_read"], user_id, list(seqs)))


async def mark_read_up_to(conn: Executor, user_id: str, seq: int) -> Changed:
    return changed(await conn.fetch(SQL["mark_read_up_to"], user_id, seq))


async def mark_unread(conn: Executor, user_id: str, seqs: Iterable[int]) -> Changed:
    return changed(await conn.fetch(SQL["mark_unread"], user_id, list(seqs)))


async def archive(conn: Executor, user_id: str, seqs: Iterable[int]) -> Changed:
    return changed(await conn.fetch(SQL["archive"], user_id, list(seqs)))


async def archive_up_to(conn: Executor, user_id: str, seq: int) -> Changed:
    return changed(await conn.fetch(SQL["archive_up_to"], user_id, seq))


async def unarchive(conn: Executor, user_id: str, seqs: Iterable[int]) -> Changed:
    return changed(await conn.fetch(SQL["unarchive"], user_id, list(seqs)))


async def recount(conn: Executor, user_id: str, difference: int) -> Counters:
    return counters_of(await conn.fetchrow(SQL["recount"], user_id, difference))


def counters_of(row: Record | None) -> Counters:
    return Counters(**row) if row else Counters()


def changed(rows: list[Record]) -> Changed:
    return Changed(sorted(row["seq"] for row in rows), sum(row["counts"] for row in rows))


def item_of(row: Record) -> InboxItem:
    # The row comes from Postgres, which checked it: no second validation, 50 times a page.
    return InboxItem.model_construct(**dict(row) | {"payload": json.loads(row["payload"])})
