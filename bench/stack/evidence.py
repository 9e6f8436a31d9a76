"""What the audit looks at, fetched at the end: the database's rows, Redis's log of commands, the mails that came."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg

from bench.channels.evidence import deliveries
from bench.chaos.audit import Kept, Mail
from bench.chaos.evidence import mails
from bench.stack.audit import Arrived
from bench.stack.containers import Containers
from db.pool import Connection

__all__ = ["arrived", "connect", "deliveries", "inboxes", "kept", "mails_of", "redis_log", "still_open"]
OURS = "payload->>'title' LIKE 'n%' AND event_type = 'stack.order'"
NOTIFICATIONS = f"SELECT payload->>'title' AS title, id::text FROM notify.notifications WHERE {OURS}"
INBOX = "SELECT notification_id::text AS id FROM notify.inbox"
INBOXES = """
SELECT user_id, array_agg(notification_id::text) AS ids FROM notify.inbox WHERE user_id = ANY ($1::text[]) GROUP BY 1
"""
# A mail may come again where its worker, or the answer to it, was lost.
TOLD = """
SELECT notification_id::text AS id, count(*) AS times FROM notify.delivery_events
WHERE channel = 'email' AND (event = 'taken_over' OR event = 'retrying' AND detail->>'error_class' = 'unknown')
GROUP BY 1
"""
OPEN = """
SELECT (SELECT coalesce(sum(cardinality(channels)), 0) FROM notify.notifications)
     - (SELECT count(*) FROM notify.deliveries WHERE status NOT IN ('pending', 'sending', 'retrying', 'deferred'))
"""
ARRIVED = """
SELECT d.channel, extract(epoch FROM n.created_at)::float8, extract(epoch FROM d.settled_at)::float8
FROM notify.deliveries d JOIN notify.notifications n ON n.id = d.notification_id
WHERE d.status = 'delivered'
"""
LOGS = "cd /data/appendonlydir && ls *.incr.aof && cat *.incr.aof"


async def still_open(conn: Connection) -> int:
    """Deliveries that are not final yet."""
    return int(await conn.fetchval(OPEN))


async def kept(connection: Connection) -> Kept:
    told = await connection.fetch(TOLD)
    return Kept(
        {row["title"]: row["id"] for row in await connection.fetch(NOTIFICATIONS)},
        frozenset(title for (title,) in await connection.fetch("SELECT title FROM chaos.written")),
        frozenset(id_ for (id_,) in await connection.fetch(INBOX)),
        Counter({row["id"]: row["times"] for row in told}),
        frozenset(),
    )


async def arrived(connection: Connection) -> list[Arrived]:
    return [Arrived(*row) for row in await connection.fetch(ARRIVED)]


async def inboxes(connection: Connection, users: Iterable[str]) -> dict[str, list[str]]:
    return {row["user_id"]: row["ids"] for row in await connection.fetch(INBOXES, list(users))}


async def redis_log(containers: Containers) -> bytes:
    """Raises RuntimeError where it was rewritten meanwhile: what was in it before is gone."""
    said = await containers.call("exec", "-T", "redis", "sh", "-c", LOGS)
    name, _, log = said.partition(b"\n")
    if not name.endswith(b".1.incr.aof") or log.partition(b"\n")[0].endswith(b".incr.aof"):
        raise RuntimeError("Redis has rewritten its log: a shorter run, or a lower rate, keeps it whole")
    return log


async def mails_of(containers: Containers, folder: Path) -> list[Mail]:
    await containers.call("cp", "mailsink:/var/lib/outbox/mail", str(folder / "mail"))
    return mails(folder / "mail")


async def connect(containers: Containers) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(containers.superuser_url, timeout=30)
