"""Dead letters: found page by page, counted, and sent on their way again exactly once."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from db import dead, delivery
from db.dead import Answer, Filter, Order
from db.delivery import Claimant
from db.pool import Connection, Pool


async def letter(
    admin: Connection, *, status: str = "failed", channel: str = "email", error: str = "smtp_5xx"
) -> UUID:
    """A notification whose delivery ended in a dead letter. Gives the notification's id."""
    notification_id = uuid4()
    await admin.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels) VALUES ($1, 'a', 'ada', $2)",
        notification_id,
        [channel],
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed) "
        "VALUES ($1, $2, $3, 8, 8)",
        notification_id,
        channel,
        status,
    )
    await admin.execute(
        "INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, attempts) "
        "VALUES ($1, $2, $3, 'because', 8)",
        notification_id,
        channel,
        error,
    )
    return notification_id


async def test_list_goes_page_by_page(pool: Pool, admin: Connection) -> None:
    sent = [await letter(admin) for _ in range(5)]
    async with pool.acquire() as connection:
        first = await dead.list_dead(connection, Filter(), limit=3)
        second = await dead.list_dead(connection, Filter(), after=first[-1], limit=3)
    assert [item.notification_id for item in first + second] == sent[::-1]


async def test_letters_of_the_same_instant_are_all_listed(pool: Pool, admin: Connection) -> None:
    for _ in range(5):
        await letter(admin)
    await admin.execute("UPDATE notify.notifications_failed SET failed_at = '2026-01-01+00'")
    seen = []
    async with pool.acquire() as connection:
        page = await dead.list_dead(connection, Filter(), limit=2)
        while page:
            seen += [item.id for item in page]
            page = await dead.list_dead(connection, Filter(), after=page[-1], limit=2)
    assert len(set(seen)) == len(seen) == 5


async def test_filter_and_count(pool: Pool, admin: Connection) -> None:
    await letter(admin)
    await letter(admin, error="no_contact")
    await letter(admin, channel="inapp", error="worker_lost")
    async with pool.acquire() as connection:
        kinds = await dead.count_dead(connection, Filter(channel="email"))
        assert [(kind.error_class, kind.letters) for kind in kinds] == [("no_contact", 1), ("smtp_5xx", 1)]
        found = await dead.list_dead(connection, Filter(error_class="worker_lost"))
        assert [item.channel for item in found] == ["inapp"]
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert await dead.count_dead(connection, Filter(since=tomorrow)) == []


async def test_redrive_begins_again_with_the_same_id(pool: Pool, admin: Connection) -> None:
    notification_id = await letter(admin)
    async with pool.acquire() as connection, connection.transaction():
        (result,) = await dead.redrive(connection, Filter())
    assert (result.notification_id, result.answer) == (notification_id, Answer.REDRIVEN)
    delivery = await admin.fetchrow("SELECT * FROM notify.deliveries")
    assert delivery is not None
    assert (delivery["status"], delivery["attempts"], delivery["attempts_allowed"]) == ("pending", 8, 16)
    due = await admin.fetchrow("SELECT *, due_at <= clock_timestamp() AS due FROM notify.scheduled")
    assert due is not None
    assert (due["notification_id"], due["channels"], due["attempt"], due["reason"], due["due"]) == (
        notification_id,
        ["email"],
        8,
        "redrive",
        True,
    )
    assert await admin.fetchval("SELECT event FROM notify.delivery_events") == "redriven"
    async with pool.acquire() as connection:
        assert await dead.list_dead(connection, Filter()) == []
        assert len(await dead.list_dead(connection, Filter(closed=True))) == 1


async def test_a_second_redrive_does_nothing(pool: Pool, admin: Connection) -> None:
    await letter(admin)
    async with pool.acquire() as connection:
        (item,) = await dead.list_dead(connection, Filter())
        async with connection.transaction():
            await dead.redrive(connection, [item.id])
        async with connection.transaction():
            (again,) = await dead.redrive(connection, [item.id])
    assert again.answer is Answer.BEFORE
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 1


async def test_a_dry_run_changes_nothing(pool: Pool, admin: Connection) -> None:
    await letter(admin)
    async with pool.acquire() as connection, connection.transaction():
        (result,) = await dead.redrive(connection, Filter(), Order(dry_run=True))
    assert result.answer is Answer.REDRIVEN
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == "failed"
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0


@pytest.mark.parametrize(
    ("status", "answer"),
    [("delivered", Answer.DELIVERED), ("sending", Answer.UNDERWAY), ("retrying", Answer.UNDERWAY)],
)
async def test_only_what_ended_without_success_is_redriven(
    pool: Pool, admin: Connection, status: str, answer: Answer
) -> None:
    await letter(admin, status=status)
    async with pool.acquire() as connection, connection.transaction():
        (result,) = await dead.redrive(connection, Filter())
    assert result.answer is answer
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == status
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0


async def test_delivered_under_the_redrives_eyes_is_not_sent_again(pool: Pool, admin: Connection) -> None:
    """The status is judged under the row's lock, not only when the letters are picked."""
    await letter(admin)
    letter_id = await admin.fetchval("SELECT id FROM notify.notifications_failed")
    await admin.execute("UPDATE notify.deliveries SET status = 'delivered'")
    assert await admin.fetch(dead.SQL["redrive"], [letter_id], None) == []


async def test_canceled_and_expired_stay_dead(pool: Pool, admin: Connection) -> None:
    canceled, expired = await letter(admin), await letter(admin)
    await admin.execute("UPDATE notify.notifications SET canceled_at = now() WHERE id = $1", canceled)
    await admin.execute("UPDATE notify.notifications SET expires_at = '2020-01-01+00' WHERE id = $1", expired)
    async with pool.acquire() as connection, connection.transaction():
        results = await dead.redrive(connection, Filter())
    assert [item.answer for item in results] == [Answer.CANCELED, Answer.EXPIRED]


async def test_undecodable_says_so(pool: Pool, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.notifications_failed (channel, error_class, reason, stream, entry_id, raw) "
        "VALUES ('inapp', 'undecodable', 'no envelope', 's', '1-1', 'x')"
    )
    async with pool.acquire() as connection, connection.transaction():
        (item,) = await dead.list_dead(connection, Filter())
        (result,) = await dead.redrive(connection, [item.id])
    assert item.undecodable
    assert result.answer is Answer.UNDECODABLE


async def test_two_redrives_at_once_divide_the_work(pool: Pool, admin: Connection) -> None:
    for _ in range(4):
        await letter(admin)
    async with pool.acquire() as one, pool.acquire() as other, one.transaction(), other.transaction():
        first = await dead.redrive(one, Filter(), Order(limit=2))
        second = await dead.redrive(other, Filter())
    assert len(first) == len(second) == 2
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 4


async def test_redriven_at_a_rate(pool: Pool, admin: Connection) -> None:
    for _ in range(4):
        await letter(admin)
    async with pool.acquire() as connection, connection.transaction():
        await dead.redrive(connection, Filter(), Order(per_second=2))
    rows = await admin.fetch("SELECT due_at FROM notify.scheduled ORDER BY due_at")
    gaps = [(later["due_at"] - row["due_at"]) for row, later in pairwise(rows)]
    assert all(timedelta(seconds=0.49) < gap < timedelta(seconds=0.51) for gap in gaps), gaps
    assert len(gaps) == 3


async def test_redriven_in_sql(pool: Pool, admin: Connection) -> None:
    """As an operator would: the function judges by itself."""
    first, canceled = await letter(admin), await letter(admin)
    await admin.execute("UPDATE notify.notifications SET canceled_at = now() WHERE id = $1", canceled)
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT notification_id, channel FROM notify.redrive(ARRAY(SELECT id FROM notify.notifications_failed))"
        )
    assert [tuple(row) for row in rows] == [(first, "email")]


async def test_discarded_once(pool: Pool, admin: Connection) -> None:
    notification_id = await letter(admin)
    async with pool.acquire() as connection:
        async with connection.transaction():
            (trial,) = await dead.discard(connection, Filter(), Order(dry_run=True))
            (first,) = await dead.discard(connection, Filter())
        async with connection.transaction():
            (again,) = await dead.discard(connection, [first.id])
            (redriven,) = await dead.redrive(connection, [first.id])
        assert await dead.list_dead(connection, Filter()) == []
        (kept,) = await dead.list_dead(connection, Filter(closed=True))
    assert [item.answer for item in (trial, first, again, redriven)] == [
        Answer.DISCARDED,
        Answer.DISCARDED,
        Answer.GONE,
        Answer.GONE,
    ]
    assert kept.discarded_at is not None
    assert (kept.notification_id, kept.event_type, kept.payload) == (notification_id, "a", {})
    events = await admin.fetch("SELECT event FROM notify.delivery_events")
    assert [row["event"] for row in events] == ["discarded"]
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == "failed"


async def test_what_was_put_off_before_it_failed_is_claimed_after_its_redrive(
    pool: Pool, admin: Connection
) -> None:
    one = await letter(admin)
    await admin.execute("UPDATE notify.deliveries SET deferrals = 2")
    async with pool.acquire() as connection, connection.transaction():
        (result,) = await dead.redrive(connection, dead.Filter())
    assert result.answer is Answer.REDRIVEN
    assert await admin.fetchval("SELECT attempt FROM notify.scheduled") == 10
    who = Claimant("email", "worker", uuid4(), 60, contacts=False)
    async with pool.acquire() as connection:
        (claim,) = await delivery.claim(connection, who, [one], [10])
    assert claim.attempts == 9
