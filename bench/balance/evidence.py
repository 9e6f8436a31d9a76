"""What Postgres holds when a run is over."""

from collections import defaultdict

from bench.balance.audit import Kept
from db.pool import Connection

INBOXES = """
    SELECT user_id, seq, notification_id::text, read_at IS NOT NULL AS read FROM notify.inbox ORDER BY user_id, seq
"""
COUNTERS = "SELECT user_id, last_seq, unread, version FROM notify.inbox_counters"


async def kept(conn: Connection) -> dict[str, Kept]:
    found: dict[str, Kept] = defaultdict(Kept)
    for user_id, seq, notification_id, read in await conn.fetch(INBOXES):
        found[user_id].ids.append(notification_id)
        if read:
            found[user_id].read.append(seq)
    for user_id, _, unread, version in await conn.fetch(COUNTERS):
        found[user_id].unread, found[user_id].version = unread, version
    return dict(found)


async def places(conn: Connection) -> dict[str, list[int]]:
    """Where each inbox stands: [last_seq, version]."""
    return {user_id: [last_seq, version] for user_id, last_seq, _, version in await conn.fetch(COUNTERS)}
