"""What a stream that lost everything gets back: what is open, by the entry whose turn it is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from db import relay as sql
from db.pool import Connection
from tests.db.test_delivery import notify


async def refilled(admin: Connection) -> list[int]:
    """The attempts of the entries that would come back."""
    xmax, snapshot = await admin.fetchrow(  # type: ignore[misc]  # one row
        "SELECT pg_snapshot_xmax(pg_current_snapshot()), pg_current_snapshot()::text"
    )
    rows = await sql.unsettled_rows(admin, (1, xmax, [], snapshot), sql.Share("inapp", "normal"), 0, 100)
    return [row["attempt"] for row in rows]


@pytest.mark.parametrize(
    ("status", "attempts", "deferrals", "expected"),
    [
        ("pending", 0, 0, [0, 1, 2]),
        ("sending", 1, 0, [0, 1, 2]),
        ("retrying", 1, 0, [1, 2]),
        ("deferred", 0, 1, [1, 2]),
        ("deferred", 1, 1, [2]),
        ("retrying", 1, 1, [2]),
        ("digested", 0, 0, []),
        ("delivered", 1, 1, []),
    ],
)
async def test_an_entry_that_was_put_off_does_not_come_back(
    admin: Connection, status: str, attempts: int, deferrals: int, expected: list[int]
) -> None:
    """Three rows of one notification: as it was written, and two that were scheduled since."""
    one = await notify(admin)
    await admin.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, attempt, origin)"
        " SELECT $1, 'order.paid', 'ada', a, 'schedule' FROM generate_series(1, 2) a",
        one,
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, deferrals, attempts_allowed)"
        " VALUES ($1, 'inapp', $2, $3, $4, 8)",
        one,
        status,
        attempts,
        deferrals,
    )
    assert await refilled(admin) == expected


async def test_of_a_notification_that_is_no_more_nothing_comes_back(admin: Connection) -> None:
    """Its deliveries are gone, too, and would look as if nobody had had them yet."""
    one = await notify(admin)
    assert await refilled(admin) == [0]
    await admin.execute("DELETE FROM notify.notifications WHERE id = $1", one)
    assert await refilled(admin) == []


async def test_what_a_producer_asked_for_is_still_known_when_it_is_due(admin: Connection) -> None:
    asked: dict[str, Any] = {
        "digest_key": "k",
        "digest_window": 5,
        "escalate_after": 60,
        "escalate_channels": ["email"],
    }
    await notify(admin, **asked, channels=["inapp", "email"], deliver_at=datetime(2190, 1, 1, tzinfo=UTC))
    due = await admin.fetch("SELECT reason, channels FROM notify.scheduled ORDER BY due_at")
    assert [tuple(row) for row in due] == [("deliver_at", ["inapp"]), ("escalation", ["email"])]
    await admin.execute("UPDATE notify.scheduled SET due_at = clock_timestamp() - interval '1 s'")
    assert await sql.promote_due(admin, 10) == 2
    rows = await admin.fetch(
        "SELECT digest_key, digest_window, escalate_after, escalate_channels FROM notify.outbox"
    )
    assert [dict(row) for row in rows] == [asked] * 2
