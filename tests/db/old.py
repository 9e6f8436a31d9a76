"""Notifications with a past: made, delivered and ended at a moment that a test names."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from db.pool import Connection
from db.retention import BEGINNING, Place, Purge, purge
from tests.db.test_delivery import notify

DAYS = timedelta(days=1)
NOW = datetime.now(UTC)
KEEP = 30 * DAYS
AGE = "UPDATE notify.notifications SET created_at = $2 WHERE id = $1"
DELIVERY = """
INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, settled_at)
SELECT $1, unnest(channels), $2, 1, 8, $3 FROM notify.notifications WHERE id = $1
"""
LETTER = """
INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason) VALUES ($1, 'email', 'x', 'y')
"""
EVENT = "INSERT INTO notify.delivery_events (notification_id, channel, event, attempt) VALUES ($1, 'inapp', $2, 1)"


async def old(
    admin: Connection,
    channel: str = "email",
    *,
    status: str | None = "delivered",
    made: datetime = NOW - 40 * DAYS,
    ended: datetime | None = NOW - 39 * DAYS,
) -> UUID:
    """One that was made then and came to its end then; without a status, none of its channels has a delivery."""
    one = await notify(admin, channel)
    await admin.execute(AGE, one, made)
    if status is not None:
        await admin.execute(DELIVERY, one, status, ended)
        await admin.execute(EVENT, one, status)
    return one


async def step(conn: Connection, after: Place = BEGINNING, limit: int = 100) -> Purge:
    return await purge(conn, KEEP, after, limit)


async def left(admin: Connection) -> set[UUID]:
    return {row["id"] for row in await admin.fetch("SELECT id FROM notify.notifications")}
