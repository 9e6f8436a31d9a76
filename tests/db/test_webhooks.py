"""The queue of an ordered endpoint: what is open stands before, in whatever way it waits."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest

from db import webhooks
from db.pool import Connection
from db.webhooks import Place

PUT_OFF = "interval '1 hour'"


async def waiting(admin: Connection, producer: Connection, row: int, status: str) -> Place:
    """A delivery with a place, which is put off for an hour."""
    identity = uuid4()
    await producer.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels)"
        " VALUES ($1, 'a', 'ada', '{webhook}')",
        identity,
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed)"
        " VALUES ($1, 'webhook', $2, 8)",
        identity,
        status,
    )
    await admin.execute(
        "INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)"
        f" VALUES (clock_timestamp() + {PUT_OFF}, $1, '{{webhook}}', 'retry')",
        identity,
    )
    return await webhooks.place(admin, Place("webhook", "", identity, 1, row))


async def due_at(admin: Connection, notification_id: UUID) -> datetime:
    found: datetime = await admin.fetchval(
        "SELECT due_at FROM notify.scheduled WHERE notification_id = $1", notification_id
    )
    return found


@pytest.mark.parametrize("status", ["pending", "sending", "retrying", "deferred"])
async def test_nobody_overtakes_one_that_is_open(
    admin: Connection, producer: Connection, status: str
) -> None:
    await waiting(admin, producer, 1, status)
    second = await waiting(admin, producer, 2, "sending")
    turn = await webhooks.take_turn(admin, second, 30)
    assert (turn.taken, turn.ahead) == (False, 1)
    assert turn.due_in is not None
    assert turn.due_in > 3000, "it says when the first is tried again"


@pytest.mark.parametrize(
    "status", ["digested", "delivered", "failed", "suppressed", "canceled", "expired", "unknown"]
)
async def test_what_is_settled_holds_up_nobody(admin: Connection, producer: Connection, status: str) -> None:
    await waiting(admin, producer, 1, status)
    second = await waiting(admin, producer, 2, "sending")
    assert (await webhooks.take_turn(admin, second, 30)).taken


async def test_whoever_has_delivered_calls_the_next_that_was_put_off(
    admin: Connection, producer: Connection
) -> None:
    first = await waiting(admin, producer, 1, "sending")
    second = await waiting(admin, producer, 2, "deferred")
    before = await due_at(admin, second.notification_id)
    assert (await webhooks.take_turn(admin, first, 30)).taken
    await webhooks.leave_turn(admin, first, delivered=True)
    assert await due_at(admin, second.notification_id) < before
