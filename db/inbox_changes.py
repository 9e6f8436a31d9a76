"""Read, unread, archive, unarchive: what a reader changes in the own inbox, by the gateway or by the API.

The caller publishes the hint after its commit (outbox/inbox_hints.py). Safe to repeat: only what is not yet so is
changed, and where nothing is, neither count nor version moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, assert_never

from db import inbox
from db.inbox import Changed, Counters
from db.pool import Executor
from outbox.inbox import InboxChange

MAX_SEQS = 500  # in one change, and in the hint that tells of it


class Mark(StrEnum):
    """What becomes of the items. The values are the names of their lists in an InboxChange."""

    READ = "read"
    UNREAD = "unread_again"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"


@dataclass(frozen=True, slots=True)
class Listed:
    """These items, at most MAX_SEQS. A seq that there is no item of is left out."""

    mark: Mark
    seqs: Sequence[int]


@dataclass(frozen=True, slots=True)
class UpTo:
    """All items up to this seq, so that what arrives meanwhile stays as it is."""

    mark: Literal[Mark.READ, Mark.ARCHIVED]
    seq: int


Change = Listed | UpTo

LISTED = {
    Mark.READ: inbox.mark_read,
    Mark.UNREAD: inbox.mark_unread,
    Mark.ARCHIVED: inbox.archive,
    Mark.UNARCHIVED: inbox.unarchive,
}
UP_TO = {Mark.READ: inbox.mark_read_up_to, Mark.ARCHIVED: inbox.archive_up_to}


@dataclass(frozen=True, slots=True)
class Applied:
    """The counters afterwards, and what to publish after the commit; None where all was so already."""

    counters: Counters
    hint: InboxChange | None


async def apply(conn: Executor, user_id: str, change: Change) -> Applied:
    """Change the items and the counters with them, alone with this inbox until the caller's transaction ends."""
    counters = await inbox.lock(conn, user_id)
    changed = await carry_out(conn, user_id, change)
    if not changed.seqs:
        return Applied(counters, None)
    sign = -1 if change.mark in {Mark.READ, Mark.ARCHIVED} else 1
    counters = await inbox.recount(conn, user_id, sign * changed.counting)
    return Applied(counters, hint(counters, change.mark, changed.seqs))


async def carry_out(conn: Executor, user_id: str, change: Change) -> Changed:
    match change:
        case Listed():
            return await LISTED[change.mark](conn, user_id, change.seqs)
        case UpTo():
            return await UP_TO[change.mark](conn, user_id, change.seq)
        case _:
            assert_never(change)


def hint(counters: Counters, mark: Mark, seqs: list[int]) -> InboxChange:
    """A long list is left out: a hint that lists nothing makes every session look for itself."""
    told = {mark.value: seqs} if len(seqs) <= MAX_SEQS else {}
    return InboxChange(version=counters.version, last_seq=counters.last_seq, unread=counters.unread, **told)
