"""What the audit looks at: the database's own rows, the mails that came, the lines that the services logged."""

import json
from collections import Counter
from pathlib import Path

from bench.chaos.audit import Kept, Mail
from bench.chaos.postgres import Node
from outbox.local.mailsink_store import Store


async def kept(primary: Node) -> Kept:
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
        ticks = await connection.fetch("SELECT ms FROM notify.relay_ticks")
    return Kept(
        {record["title"]: record["id"] for record in notifications},
        frozenset(record["title"] for record in control),
        frozenset(record["id"] for record in inbox),
        Counter({record["id"]: record["times"] for record in told}),
        frozenset(record["ms"] for record in ticks),
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
