"""What the audit looks at: the database's own rows, the mails that came, the lines that the services logged."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.chaos.audit import Kept, Mail
from bench.chaos.history import Id
from bench.chaos.postgres import Node
from outbox.local.mailsink_store import Store

TICKED = """
SELECT t.ms, o.id, o.notification_id::text AS notification
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS asked (ms, id, notification)
JOIN notify.relay_ticks t ON t.ms = asked.ms
JOIN notify.outbox o ON o.id = asked.id AND o.notification_id::text = asked.notification
LEFT JOIN notify.relay_ticks before ON before.no = t.no - 1
WHERE pg_visible_in_snapshot(o.xid, t.snapshot)
  AND (before.no IS NULL OR NOT pg_visible_in_snapshot(o.xid, before.snapshot))
"""


async def kept(primary: Node, moved: Iterable[tuple[Id, str]] = ()) -> Kept:
    """`moved`: the former ids of entries that came back under others, and whose they were."""
    asked = list(moved)
    async with primary.connection() as connection:
        notifications = await connection.fetch(
            "SELECT payload->>'title' AS title, id::text FROM notify.notifications"
        )
        control = await connection.fetch("SELECT title FROM chaos.written")
        inbox = await connection.fetch("SELECT notification_id::text AS id FROM notify.inbox")
        told = await connection.fetch(
            "SELECT notification_id::text AS id, count(*) AS times FROM notify.delivery_events"
            " WHERE channel = 'email' AND (event = 'taken_over'"
            " OR event = 'retrying' AND detail->>'error_class' = 'unknown') GROUP BY 1"
        )
        columns = ([at.ms for at, _ in asked], [at.row for at, _ in asked], [name for _, name in asked])
        ticked = await connection.fetch(TICKED, *columns)
    return Kept(
        {record["title"]: record["id"] for record in notifications},
        frozenset(record["title"] for record in control),
        frozenset(record["id"] for record in inbox),
        Counter({record["id"]: record["times"] for record in told}),
        frozenset((Id(record["ms"], record["id"]), record["notification"]) for record in ticked),
    )


def mails(folder: Path) -> list[Mail]:
    """Every mail that the sink took, straight from its files."""
    store = Store(folder, keep=2**62)
    store.read_folder()
    return [Mail(mail.message_id.strip("<>").partition(".email@")[0], mail.at) for mail in store.mails]


def events(folder: Path) -> dict[str, int]:
    """How often each service logged a warning or an error, by event; stack traces apart."""
    counted: Counter[str] = Counter()
    for path in sorted(folder.glob("*.log")):
        service = path.stem.partition("-")[0]
        for line in path.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a server's own line
            if isinstance(event, dict) and event.get("level") in {"warning", "error", "critical"}:
                name = f"{service}: {event.get('event')}"
                counted[f"{name} (trace)" if "exception" in event else name] += 1
    return dict(counted.most_common())
