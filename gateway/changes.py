"""Read, read all, archive: what a client changes in its user's inbox, and the hint that tells the other sockets.

Safe to repeat: only what is not yet so is changed, and where nothing is, neither count nor version moves.
"""

from typing import assert_never

from db import inbox
from db.inbox import Changed, Counters
from db.pool import Executor, Pool
from gateway.protocol import MAX_SEQS, Archive, Change, Read, ReadAll
from outbox.inbox import InboxChange


async def apply(pool: Pool, user_id: str, change: Change) -> tuple[Counters, InboxChange | None]:
    """The counters afterwards, and what to publish; None where all was so already.

    One transaction. Raises one of db.pool.OUTAGES when Postgres does not answer.
    """
    async with pool.acquire() as conn, conn.transaction():
        counters = await inbox.lock(conn, user_id)
        changed = await mark(conn, user_id, change)
        if not changed.seqs:
            return counters, None
        counters = await inbox.count_down(conn, user_id, changed.were_unread)
    return counters, hint(counters, change, changed.seqs)


async def mark(conn: Executor, user_id: str, change: Change) -> Changed:
    match change:
        case Read():
            return await inbox.mark_read(conn, user_id, change.seqs)
        case ReadAll():
            return await inbox.mark_read_up_to(conn, user_id, change.up_to)
        case Archive():
            return await inbox.archive(conn, user_id, change.seqs)
        case _:
            assert_never(change)


def hint(counters: Counters, change: Change, seqs: list[int]) -> InboxChange:
    """A long list is left out: a hint that lists nothing makes every session look for itself."""
    told = seqs if len(seqs) <= MAX_SEQS else []
    return InboxChange(
        version=counters.version,
        last_seq=counters.last_seq,
        unread=counters.unread,
        read=[] if isinstance(change, Archive) else told,
        archived=told if isinstance(change, Archive) else [],
    )
