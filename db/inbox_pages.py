"""A user's inbox page by page, and counted, for those who ask over HTTP (db/sql/inbox_pages.sql)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from db.inbox import Counters, item_of
from db.pool import Executor
from db.statements import load
from outbox.inbox import InboxItem

SQL = load("inbox_pages")


@dataclass(frozen=True, slots=True)
class Kind:
    """Which items. `unread` None: read or not."""

    archived: bool = False
    unread: bool | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """`total`: items that there are, archived ones among them."""

    counters: Counters
    total: int


async def below(
    executor: Executor, user_id: str, span: tuple[int, int], kind: Kind, limit: int
) -> list[InboxItem]:
    """Items between two seqs, without these, newest first."""
    rows = await executor.fetch(SQL["below"], user_id, *span, kind.archived, kind.unread, limit)
    return [item_of(row) for row in rows]


async def oldest(executor: Executor, user_id: str) -> int | None:
    """The lowest seq: those before are gone. None: there is no item."""
    seq: int | None = await executor.fetchval(SQL["oldest"], user_id)
    return seq


async def counts(executor: Executor, user_id: str) -> Counts:
    """Zeros for a user who has never been sent anything."""
    row = await executor.fetchrow(SQL["counts"], user_id)
    if row is None:
        return Counts(Counters(), 0)
    return Counts(Counters(row["last_seq"], row["unread"], row["version"]), row["total"])


async def seqs(executor: Executor, user_id: str, notification_ids: Sequence[UUID]) -> list[int]:
    """Of the user's own; what is not there is left out."""
    return [row["seq"] for row in await executor.fetch(SQL["seqs"], user_id, notification_ids)]
