"""A mail as it stands in the database once it was handed over, for those who come later to tell what became of it."""

import json
from typing import Any
from uuid import UUID, uuid4

from db.pool import Connection


async def handed_over(
    admin: Connection, address: str | None = "ada@example.com", channel: str = "email"
) -> UUID:
    notification_id = uuid4()
    await admin.execute(
        "INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, priority, created_at) "
        "VALUES ($1, 'order.paid', 'ada', ARRAY[$2], '{}', 'normal', now())",
        notification_id,
        channel,
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed) "
        "VALUES ($1, $2, 'delivered', 1, 8)",
        notification_id,
        channel,
    )
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email) VALUES ('ada', $1) "
        "ON CONFLICT (user_id) DO UPDATE SET email = excluded.email",
        address,
    )
    return notification_id


async def timeline(admin: Connection, notification_id: UUID) -> list[tuple[str, dict[str, Any]]]:
    rows = await admin.fetch(
        "SELECT event, detail FROM notify.delivery_events WHERE notification_id = $1 ORDER BY at",
        notification_id,
    )
    return [(row["event"], json.loads(row["detail"])) for row in rows]


async def suppressed(admin: Connection) -> dict[str, str]:
    rows = await admin.fetch("SELECT address, reason FROM notify.suppressions")
    return {row["address"]: row["reason"] for row in rows}
