"""Dead letters: found page by page, counted, and sent on their way again exactly once."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from db import dead
from db.dead import Answer, Filter
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
        assert len(await dead.list_dead(connection, Filter(redriven=True))) == 1


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
        (result,) = await dead.redrive(connection, Filter(), dry_run=True)
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
    notification_id = await letter(admin)
    await admin.execute("UPDATE notify.deliveries SET status = 'delivered'")
    rows = await admin.fetch(dead.SQL["redrive"], [notification_id], ["email"])
    assert rows == []


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
        first = await dead.redrive(one, Filter(), limit=2)
        second = await dead.redrive(other, Filter())
    assert len(first) == len(second) == 2
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 4
