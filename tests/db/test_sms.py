"""What is kept about text messages: doubts, and reports that race with the settle."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from db import sms
from db.delivery import Settlement, Status, settle
from db.pool import Connection
from db.sms import Report
from tests.conftest import Database

TOKEN = UUID(int=9)


@pytest.fixture
async def sending(admin: Connection, producer: Connection) -> UUID:
    """A delivery that a worker has in hand."""
    identity = uuid4()
    await producer.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels) VALUES ($1, 'a', 'ada', '{sms}')",
        identity,
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token) "
        "VALUES ($1, 'sms', 'sending', 1, 8, $2)",
        identity,
        TOKEN,
    )
    return identity


async def settle_as_delivered(connection: Connection, notification_id: UUID, message_id: str) -> None:
    """As the settler does it, within a transaction of the caller's."""
    result = Settlement(notification_id, TOKEN, Status.DELIVERED, "delivered", 1, message_id=message_id)
    await settle(connection, "sms", [result])
    await sms.remember(connection, "sms", [notification_id])


async def report(connection: Connection, notification_id: UUID) -> None:
    """As the API takes it."""
    it = Report(notification_id, "sms", "SM1", "undelivered", 4, "30005 the handset is unknown")
    async with connection.transaction():
        assert await sms.lock_delivery(connection, notification_id, "sms")
        assert await sms.report(connection, it)
        await sms.fail_undelivered(connection, "sms", [notification_id])


async def test_a_report_before_the_settle_is_not_lost(admin: Connection, sending: UUID) -> None:
    await report(admin, sending)
    async with admin.transaction():
        await settle_as_delivered(admin, sending, "SM1")
    await is_failed(admin)


async def test_a_report_during_the_settle_waits_for_it(
    database: Database, admin: Connection, sending: UUID
) -> None:
    other: Connection = await asyncpg.connect(database.app)
    async with admin.transaction():
        await settle_as_delivered(admin, sending, "SM1")
        reporting = asyncio.create_task(report(other, sending))
        await until_it_waits(database)
    await reporting
    await other.close()
    await is_failed(admin)


async def test_a_settle_during_the_report_waits_for_it(
    database: Database, admin: Connection, sending: UUID
) -> None:
    other: Connection = await asyncpg.connect(database.app)

    async def settling() -> None:
        async with other.transaction():
            await settle_as_delivered(other, sending, "SM1")

    async with admin.transaction():
        await report(admin, sending)
        task = asyncio.create_task(settling())
        await until_it_waits(database)
    await task
    await other.close()
    await is_failed(admin)


async def until_it_waits(database: Database) -> None:
    looking: Connection = await asyncpg.connect(database.admin)
    waits = "datname = current_database() AND wait_event_type = 'Lock'"
    query = f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {waits})"
    async with asyncio.timeout(60):
        while not await looking.fetchval(query):  # noqa: ASYNC110 - another connection's wait sets no Event
            await asyncio.sleep(0.01)
    await looking.close()


async def is_failed(admin: Connection) -> None:
    row = await admin.fetchrow("SELECT status, error_class, reason FROM notify.deliveries")
    assert row is not None
    assert tuple(row) == ("failed", "undelivered", "30005 the handset is unknown")
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications_failed") == 1


async def test_doubts(admin: Connection, sending: UUID) -> None:
    assert await sms.doubts(admin, "sms", [sending]) == []
    await admin.execute(
        "INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail) VALUES "
        "($1, 'sms', 'retrying', 1, '{\"error_class\": \"http_5xx\"}')",
        sending,
    )
    assert await sms.doubts(admin, "sms", [sending]) == []
    await admin.execute(
        "INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail) VALUES "
        "($1, 'sms', 'retrying', 2, '{\"error_class\": \"unknown\"}'), ($1, 'sms', 'taken_over', 3, '{}'), "
        "($1, 'email', 'taken_over', 3, '{}')",
        sending,
    )
    (doubt,) = await sms.doubts(admin, "sms", [sending])
    assert (doubt.notification_id, doubt.message_id) == (sending, None)
    await sms.report(admin, Report(sending, "sms", "SM1", "failed", 4))
    await sms.report(admin, Report(sending, "sms", "SM2", "sent", 3))
    (doubt,) = await sms.doubts(admin, "sms", [sending])
    assert doubt.message_id == "SM2"


async def test_others(admin: Connection, sending: UUID) -> None:
    await sms.report(admin, Report(sending, "sms", "SM1", "sent", 3))
    assert await sms.others(admin, "sms", sending, ["SM1", "SM2"]) == set()
    assert await sms.others(admin, "sms", uuid4(), ["SM1", "SM2"]) == {"SM1"}


@pytest.mark.parametrize("status", ["unknown", "retrying", "deferred"])
async def test_a_report_resolves_a_doubt_however_it_waits(
    admin: Connection, sending: UUID, status: str
) -> None:
    await admin.execute("UPDATE notify.deliveries SET status = $1, lease_token = NULL", status)
    it = Report(sending, "sms", "SM1", "sent", 3, None)
    async with admin.transaction():
        assert await sms.lock_delivery(admin, sending, "sms")
        assert await sms.report(admin, it)
        assert await sms.resolve(admin, it)
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == "delivered"
